//! DataFusion's logical plan to ours.

mod aggregate;
mod bounds;
mod calc;
mod compiles;
mod join;
mod properties;
mod rank;
mod scan;

use crate::error::{SqlError, SqlErrorKind, place_of, planning_text};
use crate::script::StatementTokens;
use crate::window_tvf::WindowNode;
use crate::{Warning, table_source::DeclaredTable};
use calc::{calc, column_index, columns_of};
use datafusion_common::DataFusionError;
use datafusion_expr::{Distinct, LogicalPlan};
use std::sync::Arc;
use streamfleet_logical::{
    ChangelogMode, GroupAggregateSpec, Node, OperatorSpec, Properties, StateBound, WindowAssignSpec, WindowColumns,
};

/// Lowers the plans of one statement.
pub(crate) struct Lowering<'a> {
    pub statement: &'a StatementTokens,
    pub warnings: &'a mut Vec<Warning>,
}

impl Lowering<'_> {
    /// Something that is understood but not supported; `word` is looked for in the statement to say where.
    fn unsupported(&self, what: impl Into<String>, word: &str) -> SqlError {
        let position = self.statement.find(word).unwrap_or_else(|| self.statement.position());
        SqlErrorKind::Unsupported(what.into()).at(position)
    }

    fn failed(&self, error: &DataFusionError) -> SqlError {
        let text = planning_text(error);
        let position = place_of(self.statement, &text).unwrap_or_else(|| self.statement.position());
        SqlErrorKind::Invalid(text).at(position)
    }

    fn warn_unbounded(&mut self, what: &str, word: &str) {
        let position = self.statement.find(word).unwrap_or_else(|| self.statement.position());
        let text = format!("{what} keeps every row for ever: its state has no bound");
        if !self.warnings.iter().any(|w| w.position == position && w.text == text) {
            self.warnings.push(Warning { position, text });
        }
    }

    /// The node of a whole query, every expression of which can run.
    pub fn lower_query(&mut self, plan: &LogicalPlan) -> Result<Arc<Node>, SqlError> {
        let node = self.lower(plan)?;
        compiles::check(self, &node)?;
        Ok(node)
    }

    /// The node of a plan.
    pub fn lower(&mut self, plan: &LogicalPlan) -> Result<Arc<Node>, SqlError> {
        match plan {
            LogicalPlan::TableScan(table_scan) => match table_scan.source.downcast_ref::<DeclaredTable>() {
                Some(declared) => scan::scan(self, table_scan, declared),
                None => Err(self.unsupported("a view that was not inlined", "FROM")),
            },
            LogicalPlan::SubqueryAlias(alias) => {
                let node = self.lower(&alias.input)?;
                Ok(Arc::new(Node { schema: Arc::clone(&alias.schema), ..node.as_ref().clone() }))
            }
            LogicalPlan::Projection(projection) => {
                let input = self.lower(&projection.input)?;
                calc(self, &input, None, &projection.expr, &projection.schema)
            }
            LogicalPlan::Filter(filter) => match rank::rank(self, filter)? {
                Some(node) => Ok(node),
                None => {
                    let input = self.lower(&filter.input)?;
                    let expressions = columns_of(&input.schema);
                    let schema = Arc::clone(&input.schema);
                    calc(self, &input, Some(&filter.predicate), &expressions, &schema)
                }
            },
            LogicalPlan::Aggregate(aggregate) => aggregate::aggregate(self, aggregate),
            LogicalPlan::Distinct(Distinct::All(input)) => {
                let input = self.lower(input)?;
                Ok(self.distinct(&input))
            }
            LogicalPlan::Join(join) => join::join(self, join),
            LogicalPlan::Union(union) => {
                let inputs = union.inputs.iter().map(|i| self.lower(i)).collect::<Result<Vec<_>, _>>()?;
                Ok(union_of(inputs, &union.schema))
            }
            LogicalPlan::Extension(extension) => match extension.node.as_any().downcast_ref::<WindowNode>() {
                Some(window) => self.window(window),
                None => Err(self.unsupported(extension.node.name(), "SELECT")),
            },
            LogicalPlan::Window(_) => {
                Err(self
                    .unsupported("OVER (besides ROW_NUMBER() in a subquery whose rank is limited by `<= n`)", "OVER"))
            }
            LogicalPlan::Sort(_) => Err(self.unsupported("ORDER BY of a whole result", "ORDER")),
            LogicalPlan::Limit(_) => Err(self.unsupported("LIMIT", "LIMIT")),
            LogicalPlan::Values(_) => Err(self.unsupported("VALUES", "VALUES")),
            LogicalPlan::EmptyRelation(_) => Err(self.unsupported("a query without rows to read", "SELECT")),
            LogicalPlan::Unnest(_) => Err(self.unsupported("UNNEST", "UNNEST")),
            LogicalPlan::Subquery(_) => Err(self.unsupported("a subquery in an expression", "SELECT")),
            LogicalPlan::RecursiveQuery(_) => Err(self.unsupported("WITH RECURSIVE", "RECURSIVE")),
            LogicalPlan::Distinct(Distinct::On(_)) => Err(self.unsupported("DISTINCT ON", "DISTINCT")),
            other => Err(self.unsupported(other.display().to_string(), "SELECT")),
        }
    }

    fn distinct(&mut self, input: &Arc<Node>) -> Arc<Node> {
        let keys: Vec<usize> = (0..input.schema.fields().len()).collect();
        let properties = Properties {
            upsert_keys: vec![keys.clone()],
            state: StateBound::Keys,
            changelog: input.properties.changelog,
            ..properties::append_only()
        };
        Arc::new(Node {
            spec: OperatorSpec::GroupAggregate(GroupAggregateSpec { keys, aggregates: vec![] }),
            inputs: vec![Arc::clone(input)],
            schema: Arc::clone(&input.schema),
            properties,
        })
    }

    fn window(&mut self, window: &WindowNode) -> Result<Arc<Node>, SqlError> {
        let input = self.lower(&window.input)?;
        let time = match properties::plain_column(&window.time) {
            Some(column) => column_index(self, &input.schema, column)?,
            None => return Err(self.unsupported("a window over a computed time", "DESCRIPTOR")),
        };
        if input.properties.changelog == ChangelogMode::Retract {
            return Err(self.unsupported("a window over an input with updates or deletions", "DESCRIPTOR"));
        }
        if !input.properties.time_attributes.contains(&time) {
            let name = input.schema.field(time).name().clone();
            let position = self.statement.find("DESCRIPTOR").unwrap_or_else(|| self.statement.position());
            let text = format!("`{name}` is no time attribute: its table declares no WATERMARK FOR it");
            return Err(SqlErrorKind::Invalid(text).at(position));
        }
        let first = input.schema.fields().len();
        let mut time_attributes = input.properties.time_attributes.clone();
        time_attributes.extend([first + 1, first + 2]);
        let properties = Properties {
            time_attributes,
            window: Some(WindowColumns { start: Some(first), end: Some(first + 1), time: Some(first + 2) }),
            ..properties::append_only()
        };
        Ok(Arc::new(Node {
            spec: OperatorSpec::WindowAssign(WindowAssignSpec { window: window.window, time }),
            inputs: vec![input],
            schema: Arc::clone(datafusion_expr::UserDefinedLogicalNodeCore::schema(window)),
            properties,
        }))
    }
}

fn union_of(inputs: Vec<Arc<Node>>, schema: &datafusion_common::DFSchemaRef) -> Arc<Node> {
    let retracts = inputs.iter().any(|i| i.properties.changelog == ChangelogMode::Retract);
    let common = |column: &usize| inputs.iter().all(|i| i.properties.time_attributes.contains(column));
    let properties = Properties {
        changelog: if retracts { ChangelogMode::Retract } else { ChangelogMode::AppendOnly },
        time_attributes: inputs[0].properties.time_attributes.iter().copied().filter(common).collect(),
        ..properties::append_only()
    };
    Arc::new(Node { spec: OperatorSpec::Union, inputs, schema: Arc::clone(schema), properties })
}
