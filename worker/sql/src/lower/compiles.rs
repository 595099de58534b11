//! Every expression of a plan is compiled once in planning, so that what cannot run is refused before it is deployed.

use super::Lowering;
use crate::error::SqlError;
use datafusion_common::DFSchemaRef;
use datafusion_expr::Expr;
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion_physical_expr::create_physical_expr;
use streamfleet_logical::{Node, OperatorSpec};

/// Refuses a plan with an expression that cannot be compiled.
///
/// # Errors
/// The first such expression.
pub(crate) fn check(lowering: &Lowering<'_>, node: &Node) -> Result<(), SqlError> {
    let (expressions, schema): (Vec<&Expr>, &DFSchemaRef) = match &node.spec {
        OperatorSpec::Scan(scan) => {
            (scan.expressions.iter().chain(&scan.watermark).chain(&scan.filter_hint).collect(), &scan.read_schema)
        }
        OperatorSpec::Calc(calc) => (calc.expressions.iter().chain(&calc.predicate).collect(), &node.inputs[0].schema),
        OperatorSpec::Join(join) => (join.filter.iter().collect(), &join.filter_schema),
        _ => (vec![], &node.schema),
    };
    let (properties, context) = (ExecutionProps::new(), PhysicalPlanningContext::default());
    for expression in expressions {
        create_physical_expr(expression, schema, &properties, &context).map_err(|e| lowering.failed(&e))?;
    }
    node.inputs.iter().try_for_each(|input| check(lowering, input))
}
