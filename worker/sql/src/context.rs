//! What DataFusion's planner may ask: tables, views, and the allow-listed functions.

use crate::functions::Functions;
use crate::script::StatementTokens;
use crate::table_source::DeclaredTable;
use crate::window_tvf::WindowFunctions;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion_common::config::ConfigOptions;
use datafusion_common::{Result, TableReference, plan_err};
use datafusion_expr::logical_plan::builder::LogicalTableSource;
use datafusion_expr::planner::{ContextProvider, ExprPlanner, RelationPlanner};
use datafusion_expr::{AggregateUDF, HigherOrderUDF, LogicalPlan, ScalarUDF, TableSource, WindowUDF};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use streamfleet_manifest::nearest;

/// Tables, views and functions of a script, as far as it was read.
pub(crate) struct Context {
    pub tables: BTreeMap<String, Arc<DeclaredTable>>,
    pub views: BTreeMap<String, View>,
    pub functions: Functions,
    pub options: ConfigOptions,
    expr_planners: Vec<Arc<dyn ExprPlanner>>,
    relation_planners: Vec<Arc<dyn RelationPlanner>>,
}

/// A declared view, with its statement for the places of errors.
#[derive(Debug)]
pub(crate) struct View {
    pub plan: Arc<LogicalPlan>,
    pub statement: StatementTokens,
}

/// A view as a table: its plan takes its place.
#[derive(Debug)]
struct ViewSource {
    plan: Arc<LogicalPlan>,
    schema: SchemaRef,
}

impl TableSource for ViewSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn get_logical_plan(&self) -> Option<Cow<'_, LogicalPlan>> {
        Some(Cow::Borrowed(&self.plan))
    }
}

impl Context {
    pub fn new() -> Self {
        Self {
            tables: BTreeMap::new(),
            views: BTreeMap::new(),
            functions: Functions::new(),
            options: ConfigOptions::default(),
            // For the fields of rows.
            expr_planners: vec![Arc::new(datafusion_functions::core::planner::CoreFunctionPlanner::default())],
            relation_planners: vec![Arc::new(WindowFunctions)],
        }
    }

    pub fn is_taken(&self, name: &str) -> bool {
        self.tables.contains_key(name) || self.views.contains_key(name)
    }

    /// The known table or view that a name most likely means.
    pub fn nearest_table(&self, name: &str) -> Option<&str> {
        nearest(name, self.tables.keys().chain(self.views.keys()).map(String::as_str))
    }

    /// A table that has a schema only, for expressions over a table that is being declared.
    pub fn schema_only(schema: SchemaRef) -> Arc<dyn TableSource> {
        Arc::new(LogicalTableSource::new(schema))
    }
}

impl ContextProvider for Context {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        let table = name.table();
        if let Some(declared) = self.tables.get(table) {
            return Ok(Arc::clone(declared) as Arc<dyn TableSource>);
        }
        match self.views.get(table) {
            Some(view) => {
                let schema = Arc::clone(view.plan.schema().inner());
                Ok(Arc::new(ViewSource { plan: Arc::clone(&view.plan), schema }))
            }
            None => match self.nearest_table(table) {
                Some(near) => plan_err!("no table `{table}`; did you mean `{near}`?"),
                None => plan_err!("no table `{table}`"),
            },
        }
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.expr_planners
    }

    fn get_relation_planners(&self) -> &[Arc<dyn RelationPlanner>] {
        &self.relation_planners
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.functions.scalar(name)
    }

    fn get_higher_order_meta(&self, _name: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.functions.aggregates.get(&name.to_lowercase()).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.functions.windows.get(&name.to_lowercase()).cloned()
    }

    fn get_variable_type(&self, _names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        &self.options
    }

    fn udf_names(&self) -> Vec<String> {
        self.functions.scalars.keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.functions.aggregates.keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.functions.windows.keys().cloned().collect()
    }
}
