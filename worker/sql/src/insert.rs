//! `INSERT INTO`: a query, optimised, lowered, and fitted to its sink.

use crate::check::{check_query, check_words};
use crate::context::{Context, View};
use crate::desugar::desugar_query;
use crate::error::{SqlError, SqlErrorKind, from_parser, place_of, planning_text};
use crate::field_names::name_fields;
use crate::functions::{by_position, convert};
use crate::lower::Lowering;
use crate::optimize::optimize;
use crate::script::{StatementTokens, position_of};
use crate::typing::typed;
use crate::{Compiler, RUNTIME_MODE, data_type, end};
use arrow::datatypes::DataType;
use datafusion_common::{Column, DFSchema, DataFusionError, SchemaError};
use datafusion_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast};
use datafusion_sql::planner::{NullOrdering, ParserOptions, SqlToRel};
use sqlparser::ast::Statement;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;
use std::sync::Arc;
use streamfleet_logical::type_name;
use streamfleet_logical::{
    CalcSpec, ChangelogMode, Column as TableColumn, ColumnKind, Node, OperatorSpec, Position, Properties, SinkSpec,
    StateBound, TableDescriptor,
};

/// What becomes of a row with a NULL for a column of the sink that takes none.
const NOT_NULL_ENFORCER: &str = "table.exec.sink.not-null-enforcer";

/// How names, numbers and strings are read.
pub(crate) fn planner_options() -> ParserOptions {
    ParserOptions {
        parse_float_as_decimal: true,
        enable_ident_normalization: false,
        map_string_types_to_utf8view: false,
        collect_spans: true,
        // Flink takes NULL for the smallest value: first in ascending, last in descending order.
        default_null_ordering: NullOrdering::NullsMin,
        ..ParserOptions::new()
    }
}

/// A planning error as ours, with the place of the word that it is about.
pub(crate) fn query_error(
    context: &Context,
    statement: &StatementTokens,
    error: &DataFusionError,
    fallback: Position,
) -> SqlError {
    let place = |word: &str| statement.find(word).unwrap_or(fallback);
    if let DataFusionError::SchemaError(schema_error, _) = error.find_root()
        && let SchemaError::FieldNotFound { field, valid_fields } = schema_error.as_ref()
    {
        let known = valid_fields.iter().map(|f| f.name.as_str());
        let of = field.relation.as_ref().map_or(String::new(), |r| format!(" in {r}"));
        return SqlErrorKind::unknown("column", &field.name, &of, known).at(place(&field.name));
    }
    let text = planning_text(error);
    if let Some(name) = text.strip_prefix("no table `").and_then(|t| t.split('`').next()) {
        let nearest = context.nearest_table(name).map(str::to_owned);
        let kind = SqlErrorKind::Unknown { what: "table", name: name.to_owned(), place: String::new(), nearest };
        return kind.at(place(name));
    }
    if let Some(name) = text.strip_prefix("Invalid function '").and_then(|t| t.split('\'').next()) {
        let known = context.functions.names();
        return SqlErrorKind::unknown("function", name, "", known).at(place(name));
    }
    if let DataFusionError::NotImplemented(what) = error.find_root() {
        let word = what.rsplit(' ').next().unwrap_or_default();
        return SqlErrorKind::Unsupported(what.clone()).at(place(word));
    }
    let position = place_of(statement, &text).unwrap_or(fallback);
    SqlErrorKind::Invalid(text).at(position)
}

impl Compiler<'_> {
    /// Plans a query, not yet optimised.
    pub(crate) fn query(&self, statement: &StatementTokens, parser: &mut Parser<'_>) -> Result<LogicalPlan, SqlError> {
        let position = position_of(&parser.peek_token());
        check_words(statement)?;
        let mut query = parser.parse_query().map_err(|e| from_parser(&e, position))?;
        check_query(statement, &query)?;
        name_fields(&mut query);
        desugar_query(statement, &mut query)?;
        let planner = SqlToRel::new_with_options(&self.context, planner_options());
        planner
            .sql_statement_to_plan(Statement::Query(query))
            .and_then(typed)
            .map_err(|e| query_error(&self.context, statement, &e, position))
    }

    pub(crate) fn insert(&mut self, statement: &StatementTokens, parser: &mut Parser<'_>) -> Result<(), SqlError> {
        data_type::words(parser, &["INTO"])?;
        let position = position_of(&parser.peek_token());
        let name = parser.parse_identifier().map_err(|e| from_parser(&e, position))?.value;
        let mut named = Vec::new();
        // A parenthesis may also begin the query.
        let is_list = parser.peek_token().token == Token::LParen
            && !matches!(&parser.peek_tokens::<2>()[1], Token::Word(w) if ["SELECT", "WITH"].contains(&w.value.to_uppercase().as_str()));
        if is_list {
            parser.next_token();
            loop {
                let position = position_of(&parser.peek_token());
                named.push((parser.parse_identifier().map_err(|e| from_parser(&e, position))?.value, position));
                if !parser.consume_token(&Token::Comma) {
                    break;
                }
            }
            data_type::expect(parser, &Token::RParen)?;
        }
        let Some(declared) = self.context.tables.get(&name).cloned() else {
            let known = self.context.tables.keys().map(String::as_str);
            return Err(SqlErrorKind::unknown("table", &name, "", known).at(position));
        };
        let table = &declared.table;
        let connector = self.catalog.connectors.iter().find(|c| c.name == table.connector());
        let Some(connector) = connector.filter(|c| c.sink) else {
            let what = format!("writing to connector '{}'", table.connector());
            return Err(SqlErrorKind::Unsupported(what).at(position));
        };
        let query = self.query(statement, parser)?;
        self.conflict_clause(parser, connector.upsert)?;
        end(parser)?;
        let plan = fit(statement, query, table, &named, position)?;
        let lowered = self.lowered(statement, plan, position);
        let node = lowered.map_err(|error| self.in_view(error))?;
        self.check_sources(statement, &node, position)?;
        let format = table.option("format").or_else(|| table.option("value.format"));
        let format = self.catalog.formats.iter().find(|f| connector.uses_format && Some(f.name) == format);
        let takes_changes = connector.sink_takes_changes || format.is_some_and(|f| f.changes);
        let is_batch = self.setting(RUNTIME_MODE).is_some_and(|mode| mode.eq_ignore_ascii_case("batch"));
        if let Some(why) = maker_of_changes(&node, is_batch).filter(|_| !takes_changes) {
            let text = format!(
                "table {name} takes only new rows (connector '{}'), but the query updates or deletes rows: {why}",
                connector.name
            );
            return Err(SqlErrorKind::Invalid(text).at(position));
        }
        let drops_nulls = self.setting(NOT_NULL_ENFORCER).is_some_and(|what| what.eq_ignore_ascii_case("drop"));
        let mut node = with_declared_nulls(node, table, drops_nulls);
        if connector.upsert {
            node = self.materialized(node, table);
        }
        let properties = Properties { state: StateBound::None, ..node.properties.clone() };
        self.program.sinks.push(Arc::new(Node {
            spec: OperatorSpec::Sink(SinkSpec { table: Arc::clone(table) }),
            schema: Arc::clone(&node.schema),
            inputs: vec![node],
            properties,
        }));
        Ok(())
    }
}

impl Compiler<'_> {
    fn lowered(
        &mut self,
        statement: &StatementTokens,
        plan: LogicalPlan,
        position: Position,
    ) -> Result<Arc<Node>, SqlError> {
        let plan =
            optimize(plan, &self.context.options).map_err(|e| query_error(&self.context, statement, &e, position))?;
        Lowering { statement, warnings: &mut self.program.warnings }.lower_query(&plan)
    }

    /// The same error at its place in a view, if a view by itself has it: its plan has taken the view's place.
    fn in_view(&self, error: SqlError) -> SqlError {
        let text = error.kind.to_string();
        let of_view = |view: &View| {
            let plan = optimize(view.plan.as_ref().clone(), &self.context.options).ok()?;
            let mut lowering = Lowering { statement: &view.statement, warnings: &mut Vec::new() };
            lowering.lower_query(&plan).err().filter(|e| e.kind.to_string() == text)
        };
        let mut views: Vec<&View> = self.context.views.values().collect();
        // The view that was declared first has the error by itself.
        views.sort_by_key(|view| (view.statement.position().line, view.statement.position().column));
        views.into_iter().find_map(of_view).unwrap_or(error)
    }

    /// Refuses to read what can only be written.
    fn check_sources(&self, statement: &StatementTokens, node: &Node, fallback: Position) -> Result<(), SqlError> {
        if let OperatorSpec::Scan(scan) = &node.spec {
            let connector = scan.table.connector();
            if !self.catalog.connectors.iter().any(|c| c.name == connector && c.source) {
                let what = format!("reading from connector '{connector}' (table {})", scan.table.name);
                return Err(SqlErrorKind::Unsupported(what).at(statement.find(&scan.table.name).unwrap_or(fallback)));
            }
        }
        node.inputs.iter().try_for_each(|input| self.check_sources(statement, input, fallback))
    }
}

/// The node with the sink's NOT NULL columns as such: it then fails on a row with a NULL in one, or drops it.
fn with_declared_nulls(node: Arc<Node>, table: &TableDescriptor, drops_nulls: bool) -> Arc<Node> {
    let written = table.columns.iter().filter(|c| is_written(c));
    let stricter: Vec<usize> = written
        .clone()
        .zip(node.schema.fields())
        .enumerate()
        .filter(|(_, (column, field))| !column.nullable && field.is_nullable())
        .map(|(place, _)| place)
        .collect();
    if stricter.is_empty() {
        return node;
    }
    let column_at = |place: usize| Expr::Column(Column::from(node.schema.qualified_field(place)));
    let are_there = stricter.into_iter().map(|place| column_at(place).is_not_null()).reduce(Expr::and);
    let fields = written.zip(node.schema.iter()).map(|(column, (qualifier, field))| {
        let nullable = field.is_nullable() && column.nullable;
        (qualifier.cloned(), Arc::new(field.as_ref().clone().with_nullable(nullable)))
    });
    let schema = DFSchema::new_with_metadata(fields.collect(), Default::default()).expect("only nullability differs");
    let expressions = (0..node.schema.fields().len()).map(column_at).collect();
    Arc::new(Node {
        spec: OperatorSpec::Calc(CalcSpec { predicate: are_there.filter(|_| drops_nulls), expressions }),
        schema: Arc::new(schema),
        properties: Properties { state: StateBound::None, ..node.properties.clone() },
        inputs: vec![node],
    })
}

/// True if a node's rows may be updates and deletions. In a batch job, operators that keep rows give the final ones only.
fn gives_changes(node: &Node, is_batch: bool) -> bool {
    let any_input = || node.inputs.iter().any(|input| gives_changes(input, is_batch));
    node.properties.changelog == ChangelogMode::Retract
        && match &node.spec {
            OperatorSpec::Scan(_) => true,
            OperatorSpec::GroupAggregate(_)
            | OperatorSpec::Rank(_)
            | OperatorSpec::ChangelogNormalize(_)
            | OperatorSpec::UpsertMaterialize(_) => !is_batch,
            OperatorSpec::Join(_) => !is_batch || any_input(),
            _ => any_input(),
        }
}

/// What the lowest operator does that turns new rows into changes, if one does.
fn maker_of_changes(node: &Node, is_batch: bool) -> Option<String> {
    if !gives_changes(node, is_batch) {
        return None;
    }
    if let Some(below) = node.inputs.iter().find_map(|input| maker_of_changes(input, is_batch)) {
        return Some(below);
    }
    Some(match &node.spec {
        OperatorSpec::GroupAggregate(_) => "its GROUP BY is not over a window".to_owned(),
        OperatorSpec::Rank(_) => "its ROW_NUMBER replaces rows as better ones come".to_owned(),
        OperatorSpec::Join(_) => "its outer join takes NULL-padded rows back".to_owned(),
        OperatorSpec::Scan(scan) => format!("table {} gives updates and deletions", scan.table.name),
        _ => "one of its operators".to_owned(),
    })
}

fn is_written(column: &TableColumn) -> bool {
    match &column.kind {
        ColumnKind::Physical => true,
        ColumnKind::Metadata { is_virtual, .. } => !is_virtual,
        ColumnKind::Computed(_) => false,
    }
}

/// The query's columns by position as the sink's: types cast as Flink allows, columns that are not named NULL.
fn fit(
    statement: &StatementTokens,
    query: LogicalPlan,
    table: &TableDescriptor,
    named: &[(String, Position)],
    position: Position,
) -> Result<LogicalPlan, SqlError> {
    let written: Vec<&TableColumn> = table.columns.iter().filter(|c| is_written(c)).collect();
    let mut targets: Vec<&TableColumn> = Vec::new();
    for (name, position) in named {
        let Some(column) = written.iter().find(|c| c.name == *name) else {
            let known = written.iter().map(|c| c.name.as_str());
            let place = format!(" in table {}", table.name);
            return Err(SqlErrorKind::unknown("column", name, &place, known).at(*position));
        };
        if targets.iter().any(|t| t.name == *name) {
            return Err(SqlErrorKind::Invalid(format!("column `{name}` is named twice")).at(*position));
        }
        targets.push(column);
    }
    if named.is_empty() {
        targets.clone_from(&written);
    }
    let columns = query.schema().columns();
    let mismatch = |why: String| {
        let query_schema = query.schema().fields().iter().map(|f| format!("{} {}", f.name(), type_name(f.data_type())));
        let sink_schema = targets.iter().map(|c| format!("{} {}", c.name, type_name(&c.data_type)));
        let text = format!(
            "column types of query and table {} do not match: {why}\nquery: [{}]\ntable: [{}]",
            table.name,
            query_schema.collect::<Vec<_>>().join(", "),
            sink_schema.collect::<Vec<_>>().join(", ")
        );
        SqlErrorKind::Type(text).at(position)
    };
    if columns.len() != targets.len() {
        return Err(mismatch(format!("{} columns for {}", columns.len(), targets.len())));
    }
    let mut expressions = Vec::new();
    for column in &written {
        let expression = match targets.iter().position(|t| t.name == column.name) {
            None => Expr::Literal(datafusion_common::ScalarValue::Null, None),
            Some(index) => {
                let from = query.schema().field(index).data_type();
                if !casts_implicitly(from, &column.data_type) {
                    return Err(mismatch(format!("column `{}` cannot take {}", column.name, type_name(from))));
                }
                let expression = Expr::Column(Column::from(query.schema().qualified_field(index)));
                converted(expression, from, &column.data_type)
            }
        };
        let expression = match expression {
            Expr::Literal(..) => cast(expression, column.data_type.clone()),
            other => other,
        };
        expressions.push(expression.alias(&column.name));
    }
    LogicalPlanBuilder::from(query)
        .project(expressions)
        .and_then(LogicalPlanBuilder::build)
        .map_err(|e| SqlErrorKind::Invalid(planning_text(&e)).at(statement.position()))
}

/// An expression as a column's type: fields of rows by position, whatever they are called.
fn converted(expression: Expr, from: &DataType, to: &DataType) -> Expr {
    if from == to {
        expression
    } else if from.is_nested() {
        by_position(expression, to)
    } else {
        convert(expression, from, to)
    }
}

/// True if Flink converts without being asked: of nested types, if it does so for every part.
fn casts_implicitly(from: &DataType, to: &DataType) -> bool {
    let is_decimal = |t: &DataType| matches!(t, DataType::Decimal128(..));
    from == to
        || from.is_null()
        || (from.is_numeric() && to.is_numeric() && (from.is_integer() || is_decimal(from) || to.is_floating()))
        || matches!((from, to), (DataType::Timestamp(..), DataType::Timestamp(..)))
        || matches!((from, to), (DataType::Date32, DataType::Timestamp(..)))
        || matches!((from, to), (DataType::Utf8View | DataType::LargeUtf8, DataType::Utf8))
        || parts_cast_implicitly(from, to)
}

fn parts_cast_implicitly(from: &DataType, to: &DataType) -> bool {
    match (from, to) {
        (DataType::Struct(from), DataType::Struct(to)) => {
            from.len() == to.len() && from.iter().zip(to).all(|(f, t)| casts_implicitly(f.data_type(), t.data_type()))
        }
        (DataType::List(from), DataType::List(to)) => casts_implicitly(from.data_type(), to.data_type()),
        (DataType::Map(from, _), DataType::Map(to, _)) => parts_cast_implicitly(from.data_type(), to.data_type()),
        _ => false,
    }
}
