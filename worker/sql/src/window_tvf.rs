//! `TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL ..))` and its kin, as a node of DataFusion's plan.

use arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion_common::{DFSchema, DFSchemaRef, Result, ScalarValue, TableReference, not_impl_err, plan_err};
use datafusion_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion_expr::{Expr, ExprSchemable, Extension, LogicalPlan, UserDefinedLogicalNodeCore};
use sqlparser::ast::{
    self, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, ObjectNamePart, TableFactor,
};
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;
use streamfleet_logical::{WindowSpec, type_name};

/// Adds window columns to its input.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct WindowNode {
    pub input: LogicalPlan,
    pub window: WindowSpec,
    /// The time column, an expression so that optimisations keep it up to date.
    pub time: Expr,
    schema: DFSchemaRef,
}

impl PartialOrd for WindowNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.input.partial_cmp(&other.input)
    }
}

impl WindowNode {
    fn new(input: LogicalPlan, window: WindowSpec, time: Expr) -> Result<Self> {
        let mut fields: Vec<(Option<TableReference>, Arc<Field>)> =
            input.schema().iter().map(|(q, f)| (q.cloned(), Arc::clone(f))).collect();
        // Flink's window start and end have no zone, whatever the time column has; window_time is of its kind.
        let time_type = time.get_type(input.schema().as_ref())?;
        let plain = DataType::Timestamp(TimeUnit::Millisecond, None);
        for (name, data_type) in [("window_start", &plain), ("window_end", &plain), ("window_time", &time_type)] {
            fields.push((None, Arc::new(Field::new(name, data_type.clone(), false))));
        }
        let schema = Arc::new(DFSchema::new_with_metadata(fields, Default::default())?);
        Ok(Self { input, window, time, schema })
    }
}

impl UserDefinedLogicalNodeCore for WindowNode {
    fn name(&self) -> &str {
        "WindowAssign"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        vec![self.time.clone()]
    }

    fn prevent_predicate_push_down_columns(&self) -> std::collections::HashSet<String> {
        ["window_start", "window_end", "window_time"].into_iter().map(str::to_owned).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WindowAssign: {} on {}", self.window, self.time)
    }

    fn with_exprs_and_inputs(&self, mut exprs: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        match (exprs.pop(), inputs.pop()) {
            (Some(time), Some(input)) => Self::new(input, self.window, time),
            _ => plan_err!("a window has one input"),
        }
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let inputs = self.input.schema().fields().len();
        let mut needed: Vec<usize> = output_columns.iter().copied().filter(|c| *c < inputs).collect();
        if let Expr::Column(column) = &self.time {
            needed.extend(self.input.schema().maybe_index_of_column(column));
        }
        needed.sort_unstable();
        needed.dedup();
        Some(vec![needed])
    }
}

/// Plans window table functions.
#[derive(Debug)]
pub(crate) struct WindowFunctions;

impl RelationPlanner for WindowFunctions {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let TableFactor::TableFunction { expr: ast::Expr::Function(call), alias } = &relation else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let name = call.name.to_string().to_uppercase();
        if !matches!(name.as_str(), "TUMBLE" | "HOP" | "CUMULATE") {
            return not_impl_err!("table function {name}");
        }
        let FunctionArguments::List(list) = &call.args else { return plan_err!("{name} takes arguments") };
        let arguments = in_order(&name, &list.args)?;
        if arguments.len() < 3 {
            return plan_err!("{name} takes a table, DESCRIPTOR(column) and intervals");
        }
        let input = context.plan(table_of(arguments[0])?)?;
        let time = time_of(&name, arguments[1], &input, context)?;
        let spans: Vec<i64> = arguments[2..].iter().map(|a| span_of(&name, a, context)).collect::<Result<_>>()?;
        let window = window_of(&name, &spans)?;
        let plan = LogicalPlan::Extension(Extension { node: Arc::new(WindowNode::new(input, window, time)?) });
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias.clone()))))
    }
}

/// The parameters of a window function, in the order in which they are given without names.
fn parameters(name: &str) -> &'static [&'static str] {
    match name {
        "TUMBLE" => &["DATA", "TIMECOL", "SIZE", "OFFSET"],
        "HOP" => &["DATA", "TIMECOL", "SLIDE", "SIZE", "OFFSET"],
        _ => &["DATA", "TIMECOL", "STEP", "SIZE", "OFFSET"],
    }
}

/// A call's arguments in the order of the parameters, whether they are named (`SIZE => ..`) or not.
fn in_order<'a>(name: &str, arguments: &'a [FunctionArg]) -> Result<Vec<&'a ast::Expr>> {
    let parameters = parameters(name);
    let named = |argument: &'a FunctionArg| match argument {
        FunctionArg::Named { name, arg: FunctionArgExpr::Expr(expr), .. } => Some((name.value.to_uppercase(), expr)),
        FunctionArg::ExprNamed { name: ast::Expr::Identifier(name), arg: FunctionArgExpr::Expr(expr), .. } => {
            Some((name.value.to_uppercase(), expr))
        }
        _ => None,
    };
    if !arguments.iter().any(|a| named(a).is_some()) {
        let positional = |argument: &'a FunctionArg| match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Ok(expr),
            other => plan_err!("{name} cannot take {other}"),
        };
        return arguments.iter().map(positional).collect();
    }
    let mut found: Vec<Option<&ast::Expr>> = vec![None; parameters.len()];
    for argument in arguments {
        let Some((key, expr)) = named(argument) else {
            return plan_err!("{name}: name all arguments or none; {argument} has no name");
        };
        match parameters.iter().position(|p| *p == key) {
            None => return plan_err!("{name} has no parameter {key}; it takes {}", parameters.join(", ")),
            Some(index) if found[index].replace(expr).is_some() => return plan_err!("{name}: {key} is given twice"),
            Some(_) => {}
        }
    }
    if let Some(missing) = found.iter().zip(parameters).position(|(f, p)| f.is_none() && *p != "OFFSET") {
        return plan_err!("{name} needs {}", parameters[missing]);
    }
    Ok(found.into_iter().flatten().collect())
}

/// The table that a window function reads: a name (the word TABLE before it was taken out), or a query.
fn table_of(argument: &ast::Expr) -> Result<TableFactor> {
    let named = |parts: Vec<Ident>| {
        let name = ObjectName(parts.into_iter().map(ObjectNamePart::Identifier).collect());
        TableFactor::Table {
            name,
            alias: None,
            args: None,
            with_hints: vec![],
            version: None,
            with_ordinality: false,
            partitions: vec![],
            json_path: None,
            sample: None,
            index_hints: vec![],
        }
    };
    match argument {
        ast::Expr::Identifier(name) => Ok(named(vec![name.clone()])),
        ast::Expr::CompoundIdentifier(names) => Ok(named(names.clone())),
        ast::Expr::Subquery(query) => {
            Ok(TableFactor::Derived { lateral: false, subquery: query.clone(), alias: None, sample: None })
        }
        other => plan_err!("expected TABLE and a table's name, found {other}"),
    }
}

fn time_of(
    name: &str,
    argument: &ast::Expr,
    input: &LogicalPlan,
    context: &mut dyn RelationPlannerContext,
) -> Result<Expr> {
    let column = match argument {
        ast::Expr::Function(call) if call.name.to_string().eq_ignore_ascii_case("DESCRIPTOR") => match &call.args {
            FunctionArguments::List(list) => match &list.args[..] {
                [FunctionArg::Unnamed(FunctionArgExpr::Expr(column))] => column.clone(),
                _ => return plan_err!("DESCRIPTOR takes one column"),
            },
            _ => return plan_err!("DESCRIPTOR takes one column"),
        },
        other => return plan_err!("{name}: expected DESCRIPTOR(column), found {other}"),
    };
    let time = context.sql_to_expr(column, input.schema())?;
    let data_type = time.get_type(input.schema().as_ref())?;
    if !matches!(data_type, DataType::Timestamp(TimeUnit::Millisecond, _)) {
        return plan_err!(
            "{name} needs a time attribute of TIMESTAMP(3) or TIMESTAMP_LTZ(3), but {time} is {}",
            type_name(&data_type)
        );
    }
    Ok(time)
}

/// The milliseconds of an interval literal.
fn span_of(name: &str, argument: &ast::Expr, context: &mut dyn RelationPlannerContext) -> Result<i64> {
    let expr = context.sql_to_expr(argument.clone(), &DFSchema::empty())?;
    let millis = match &expr {
        Expr::Literal(value, _) => interval_millis(value),
        _ => None,
    };
    match millis {
        Some(millis) if millis > 0 => Ok(millis),
        _ => plan_err!("{name}: expected an interval of milliseconds to days above zero, found {argument}"),
    }
}

/// Milliseconds of an interval without months.
pub(crate) fn interval_millis(value: &ScalarValue) -> Option<i64> {
    match value {
        ScalarValue::IntervalMonthDayNano(Some(i)) if i.months == 0 => {
            Some(i64::from(i.days) * 86_400_000 + i.nanoseconds / 1_000_000)
        }
        ScalarValue::IntervalDayTime(Some(i)) => Some(i64::from(i.days) * 86_400_000 + i64::from(i.milliseconds)),
        _ => None,
    }
}

/// The most windows that a row may lie in.
const MOST_WINDOWS: i64 = 100_000;

fn few_windows(name: &str, size: i64, step: i64) -> Result<()> {
    if size / step > MOST_WINDOWS {
        return plan_err!(
            "{name}: every row would lie in {} windows; at most {MOST_WINDOWS} are possible",
            size / step
        );
    }
    Ok(())
}

fn window_of(name: &str, spans: &[i64]) -> Result<WindowSpec> {
    Ok(match (name, spans) {
        ("TUMBLE", [size]) => WindowSpec::Tumble { size: *size, offset: 0 },
        ("TUMBLE", [size, offset]) => WindowSpec::Tumble { size: *size, offset: *offset },
        ("HOP", [slide, size, rest @ ..]) if rest.len() < 2 => {
            few_windows(name, *size, *slide)?;
            if size % slide != 0 {
                return plan_err!("HOP: the size must be a multiple of the slide");
            }
            WindowSpec::Hop { size: *size, slide: *slide, offset: rest.first().copied().unwrap_or(0) }
        }
        ("CUMULATE", [step, size, rest @ ..]) if rest.len() < 2 => {
            few_windows(name, *size, *step)?;
            if size % step != 0 {
                return plan_err!("CUMULATE: the size must be a multiple of the step");
            }
            WindowSpec::Cumulate { size: *size, step: *step, offset: rest.first().copied().unwrap_or(0) }
        }
        _ => return plan_err!("{name} does not take {} intervals", spans.len()),
    })
}
