//! Declarations become tables and views.

use crate::check::check_expression;
use crate::context::{Context, View};
use crate::ddl::{DeclaredKind, TableDeclaration};
use crate::desugar::desugar_expression;
use crate::error::{SqlError, SqlErrorKind, from_parser, planning_text};
use crate::insert::{planner_options, query_error};
use crate::optimize::optimize;
use crate::options;
use crate::script::{StatementTokens, position_of};
use crate::table_source::{DeclaredTable, Gives};
use crate::typing::typed_expression;
use crate::{Compiler, Warning, data_type, ddl, end};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{Column as ColumnName, DFSchema};
use datafusion_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder};
use datafusion_sql::planner::{PlannerContext, SqlToRel};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use streamfleet_logical::type_name;
use streamfleet_logical::{
    Column, ColumnKind, EMIT_STRATEGY, IDLE_TIMEOUT, Position, TableDescriptor, WatermarkAlignment, WatermarkStrategy,
};

impl Compiler<'_> {
    pub(crate) fn create_table(
        &mut self,
        statement: &StatementTokens,
        mut declaration: TableDeclaration,
    ) -> Result<(), SqlError> {
        if self.context.is_taken(&declaration.name) {
            if declaration.if_not_exists {
                return Ok(());
            }
            let text = format!("`{}` is declared already", declaration.name);
            return Err(SqlErrorKind::Invalid(text).at(declaration.position));
        }
        let options::Known { connector, format } = options::check(&mut declaration, self.catalog)?;
        if connector.upsert && declaration.primary_key.is_empty() {
            let text = format!(
                "table {} needs a PRIMARY KEY (..) NOT ENFORCED: rows of connector '{}' replace one another by it",
                declaration.name, connector.name
            );
            return Err(SqlErrorKind::Invalid(text).at(declaration.position));
        }
        let gives = match format {
            _ if connector.upsert => Gives::Upserts,
            Some(format) if format.changes => Gives::Changes,
            _ => Gives::Inserts,
        };
        for column in &declaration.columns {
            if let DeclaredKind::Metadata { key, .. } = &column.kind
                && !connector.metadata.iter().any(|m| m.key == key)
            {
                let place = format!(" of connector '{}'", connector.name);
                let known = connector.metadata.iter().map(|m| m.key);
                return Err(SqlErrorKind::unknown("metadata column", key, &place, known).at(column.position));
            }
        }
        let watermarks = WatermarkOptions {
            alignment: options::watermark_alignment(&declaration)?,
            idle_timeout: options::idle_timeout(&declaration)?,
        };
        let of_watermarks = [WatermarkAlignment::GROUP, EMIT_STRATEGY, IDLE_TIMEOUT];
        for option in of_watermarks.iter().filter(|option| declaration.options.contains_key(**option)) {
            if declaration.watermark.is_none() {
                let text = format!("table {}: '{option}' has no effect: the table has no WATERMARK", declaration.name);
                self.program.warnings.push(Warning { position: declaration.position, text });
            }
        }
        let table = resolve(&self.context, statement, declaration, watermarks)?;
        let name = table.name.clone();
        self.context.tables.insert(name, Arc::new(DeclaredTable::new(Arc::new(table), gives)));
        Ok(())
    }

    pub(crate) fn create_view(&mut self, statement: &StatementTokens, parser: &mut Parser<'_>) -> Result<(), SqlError> {
        let if_not_exists = ddl::if_not_exists(parser)?;
        let position = position_of(&parser.peek_token());
        let name = parser.parse_identifier().map_err(|e| from_parser(&e, position))?.value;
        let mut columns = Vec::new();
        if parser.consume_token(&Token::LParen) {
            loop {
                let position = position_of(&parser.peek_token());
                columns.push(parser.parse_identifier().map_err(|e| from_parser(&e, position))?.value);
                if !parser.consume_token(&Token::Comma) {
                    break;
                }
            }
            data_type::expect(parser, &Token::RParen)?;
        }
        if data_type::word_follows(parser, "COMMENT") {
            parser.next_token();
        }
        data_type::words(parser, &["AS"])?;
        let plan = self.query(statement, parser)?;
        end(parser)?;
        if self.context.is_taken(&name) {
            if if_not_exists {
                return Ok(());
            }
            return Err(SqlErrorKind::Invalid(format!("`{name}` is declared already")).at(position));
        }
        let plan = if columns.is_empty() { plan } else { renamed(statement, plan, &columns)? };
        self.context.views.insert(name, View { plan: Arc::new(plan), statement: statement.clone() });
        Ok(())
    }
}

fn renamed(statement: &StatementTokens, plan: LogicalPlan, columns: &[String]) -> Result<LogicalPlan, SqlError> {
    let failed =
        |e: datafusion_common::DataFusionError| SqlErrorKind::Invalid(planning_text(&e)).at(statement.position());
    let existing = plan.schema().columns();
    if existing.len() != columns.len() {
        let text = format!("the view names {} columns, its query has {}", columns.len(), existing.len());
        return Err(SqlErrorKind::Invalid(text).at(statement.position()));
    }
    let expressions: Vec<Expr> = existing.into_iter().zip(columns).map(|(c, n)| Expr::Column(c).alias(n)).collect();
    LogicalPlanBuilder::from(plan).project(expressions).and_then(LogicalPlanBuilder::build).map_err(failed)
}

/// What the options of a table say of its watermarks.
struct WatermarkOptions {
    alignment: Option<WatermarkAlignment>,
    idle_timeout: Option<Duration>,
}

/// Types the computed columns and the watermark of a declared table.
fn resolve(
    context: &Context,
    statement: &StatementTokens,
    declaration: TableDeclaration,
    watermarks: WatermarkOptions,
) -> Result<TableDescriptor, SqlError> {
    let mut stored = Vec::new();
    for column in &declaration.columns {
        if let DeclaredKind::Physical { data_type, nullable } | DeclaredKind::Metadata { data_type, nullable, .. } =
            &column.kind
        {
            stored.push(Field::new(&column.name, data_type.clone(), *nullable));
        }
    }
    let stored = DFSchema::try_from(Schema::new(stored))
        .map_err(|e| SqlErrorKind::Invalid(planning_text(&e)).at(declaration.position))?;
    let resolver = Resolver { context, statement, stored };
    // Computed columns may use one another: each is expressed over the stored columns only.
    let mut computed: BTreeMap<String, Expr> = BTreeMap::new();
    let mut columns = Vec::new();
    for column in declaration.columns {
        let in_key = declaration.primary_key.iter().any(|(name, _)| *name == column.name);
        let (data_type, nullable, kind) = match column.kind {
            DeclaredKind::Physical { data_type, nullable } => (data_type, nullable, ColumnKind::Physical),
            DeclaredKind::Metadata { data_type, nullable, key, is_virtual } => {
                (data_type, nullable, ColumnKind::Metadata { key, is_virtual })
            }
            DeclaredKind::Computed(expr) => {
                let (expr, data_type) = resolver.expression(*expr, &computed, column.position)?;
                computed.insert(column.name.clone(), expr.clone());
                (data_type, true, ColumnKind::Computed(expr))
            }
        };
        // A key takes no NULL, whether that is said or not.
        columns.push(Column { name: column.name, data_type, nullable: nullable && !in_key, kind });
    }
    let watermark = match declaration.watermark {
        None => None,
        Some((name, expr, position)) => {
            let index = columns.iter().position(|c| c.name == name);
            let known = columns.iter().map(|c| c.name.as_str());
            let Some(index) = index else {
                return Err(SqlErrorKind::unknown("column", &name, " for the watermark", known).at(position));
            };
            let data_type = &columns[index].data_type;
            if !matches!(data_type, DataType::Timestamp(TimeUnit::Millisecond, _)) {
                let text = format!(
                    "the watermark's column `{name}` must be TIMESTAMP(3) or TIMESTAMP_LTZ(3), not {}",
                    type_name(data_type)
                );
                return Err(SqlErrorKind::Type(text).at(position));
            }
            let (expression, _) = resolver.expression(expr, &computed, position)?;
            let WatermarkOptions { alignment, idle_timeout } = watermarks;
            Some(WatermarkStrategy { column: index, expression, alignment, idle_timeout })
        }
    };
    let check = |names: Vec<(String, Position)>| {
        let mut found = Vec::new();
        for (name, position) in names {
            if !columns.iter().any(|c| c.name == name) {
                let known = columns.iter().map(|c| c.name.as_str());
                return Err(SqlErrorKind::unknown("column", &name, "", known).at(position));
            }
            found.push(name);
        }
        Ok(found)
    };
    let (primary_key, partitioned_by) = (check(declaration.primary_key)?, check(declaration.partitioned_by)?);
    Ok(TableDescriptor {
        name: declaration.name,
        columns,
        watermark,
        primary_key,
        partitioned_by,
        options: declaration.options,
        position: declaration.position,
    })
}

struct Resolver<'a> {
    context: &'a Context,
    statement: &'a StatementTokens,
    stored: DFSchema,
}

impl Resolver<'_> {
    /// An expression over the stored columns, with its type.
    fn expression(
        &self,
        mut expr: sqlparser::ast::Expr,
        computed: &BTreeMap<String, Expr>,
        position: Position,
    ) -> Result<(Expr, DataType), SqlError> {
        let failed = |e: datafusion_common::DataFusionError| query_error(self.context, self.statement, &e, position);
        check_expression(self.statement, &expr)?;
        desugar_expression(self.statement, &mut expr)?;
        let mut fields: Vec<Field> = self.stored.fields().iter().map(|f| f.as_ref().clone()).collect();
        for (name, expr) in computed {
            let data_type = expr.get_type(&self.stored).map_err(failed)?;
            fields.push(Field::new(name, data_type, true));
        }
        let all = DFSchema::try_from(Schema::new(fields)).map_err(failed)?;
        let planner = SqlToRel::new_with_options(self.context, planner_options());
        let expr = planner.sql_to_expr(expr, &all, &mut PlannerContext::new()).map_err(failed)?;
        let expr = typed_expression(expr, &all).map_err(failed)?;
        let expr = expr.transform_up(|e| {
            Ok(match &e {
                Expr::Column(ColumnName { name, .. }) => match computed.get(name) {
                    Some(inner) => Transformed::yes(inner.clone()),
                    None => Transformed::yes(Expr::Column(ColumnName::from_name(name))),
                },
                _ => Transformed::no(e),
            })
        });
        let expr = expr.map_err(failed)?.data;
        // A projection over the stored columns brings type coercion and constant folding.
        let source = Context::schema_only(Arc::clone(self.stored.inner()));
        let plan = LogicalPlanBuilder::scan("t", source, None)
            .and_then(|b| b.project(vec![expr.alias("value")]))
            .and_then(LogicalPlanBuilder::build)
            .and_then(|p| optimize(p, &self.context.options))
            .map_err(failed)?;
        let LogicalPlan::Projection(projection) = &plan else {
            let text = "the expression is a constant; a column of the table was expected in it".to_owned();
            return Err(SqlErrorKind::Invalid(text).at(position));
        };
        let data_type = projection.schema.field(0).data_type().clone();
        let unqualified = projection.expr[0].clone().unalias().transform_up(|e| {
            Ok(match e {
                Expr::Column(c) => Transformed::yes(Expr::Column(ColumnName::from_name(c.name))),
                other => Transformed::no(other),
            })
        });
        Ok((unqualified.map_err(failed)?.data, data_type))
    }
}
