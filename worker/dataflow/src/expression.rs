//! Expressions over batches: compiled once, evaluated column by column.

use crate::DataflowError;
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion_common::{DFSchemaRef, DataFusionError};
use datafusion_expr::Expr;
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion_physical_expr::{PhysicalExpr, create_physical_expr};
use std::sync::Arc;

pub(crate) fn failed(operator: &str, source: DataFusionError) -> DataflowError {
    DataflowError::Expression { operator: operator.to_owned(), source }
}

pub(crate) fn compile(
    operator: &str,
    expr: &Expr,
    schema: &DFSchemaRef,
) -> Result<Arc<dyn PhysicalExpr>, DataflowError> {
    let (properties, context) = (ExecutionProps::new(), PhysicalPlanningContext::default());
    create_physical_expr(expr, schema, &properties, &context).map_err(|e| failed(operator, e))
}

/// Computes columns from columns.
#[derive(Debug)]
pub struct Projector {
    operator: String,
    expressions: Vec<Arc<dyn PhysicalExpr>>,
    output: SchemaRef,
}

impl Projector {
    /// One expression per column of `output`, over columns of `input`.
    ///
    /// # Errors
    /// An expression does not fit its input.
    pub fn new(operator: &str, exprs: &[Expr], input: &DFSchemaRef, output: SchemaRef) -> Result<Self, DataflowError> {
        let expressions = exprs.iter().map(|e| compile(operator, e, input)).collect::<Result<_, _>>()?;
        Ok(Self { operator: operator.to_owned(), expressions, output })
    }

    /// One expression whose value is a timestamp in milliseconds without a zone.
    ///
    /// # Errors
    /// The expression does not fit its input.
    pub fn timestamp(operator: &str, expr: &Expr, input: &DFSchemaRef) -> Result<Self, DataflowError> {
        let field = Field::new("time", DataType::Timestamp(TimeUnit::Millisecond, None), true);
        Self::new(operator, std::slice::from_ref(expr), input, Arc::new(Schema::new(vec![field])))
    }

    pub(crate) fn of_compiled(operator: &str, expressions: Vec<Arc<dyn PhysicalExpr>>, output: SchemaRef) -> Self {
        Self { operator: operator.to_owned(), expressions, output }
    }

    /// The output columns, of exactly the declared types.
    ///
    /// # Errors
    /// A value cannot be computed, or a NOT NULL column has a NULL.
    pub fn project(&self, input: &RecordBatch) -> Result<RecordBatch, DataflowError> {
        let mut columns = Vec::with_capacity(self.expressions.len());
        for (expression, field) in self.expressions.iter().zip(self.output.fields()) {
            let value = expression.evaluate(input).map_err(|e| failed(&self.operator, e))?;
            let column = value.into_array(input.num_rows()).map_err(|e| failed(&self.operator, e))?;
            if !field.is_nullable() && column.null_count() > 0 {
                return Err(DataflowError::Null { operator: self.operator.clone(), column: field.name().clone() });
            }
            columns.push(fit(column, field.data_type())?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(input.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.output), columns, &options)?)
    }
}

/// The column as exactly this type: expressions may give views, or another zone.
fn fit(column: ArrayRef, data_type: &DataType) -> Result<ArrayRef, DataflowError> {
    if column.data_type() == data_type {
        return Ok(column);
    }
    if let (DataType::Timestamp(from, _), DataType::Timestamp(to, _)) = (column.data_type(), data_type)
        && from == to
    {
        // The same instants under another zone's name: no value changes.
        let data = column.to_data().into_builder().data_type(data_type.clone()).build()?;
        return Ok(arrow::array::make_array(data));
    }
    Ok(cast(&column, data_type)?)
}

/// A condition.
#[derive(Debug)]
pub struct Predicate {
    operator: String,
    expression: Arc<dyn PhysicalExpr>,
}

impl Predicate {
    /// A boolean expression over columns of `input`.
    ///
    /// # Errors
    /// The expression does not fit its input.
    pub fn new(operator: &str, expr: &Expr, input: &DFSchemaRef) -> Result<Self, DataflowError> {
        Ok(Self { operator: operator.to_owned(), expression: compile(operator, expr, input)? })
    }

    /// True where the condition holds; NULL counts as false.
    ///
    /// # Errors
    /// The condition cannot be computed.
    pub fn evaluate(&self, input: &RecordBatch) -> Result<BooleanArray, DataflowError> {
        let value = self.expression.evaluate(input).map_err(|e| failed(&self.operator, e))?;
        let column = value.into_array(input.num_rows()).map_err(|e| failed(&self.operator, e))?;
        let mask = column.as_boolean();
        if mask.null_count() == 0 {
            return Ok(mask.clone());
        }
        Ok(arrow::compute::prep_null_mask_filter(mask))
    }
}
