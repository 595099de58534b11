//! Changes on their way into a table whose rows replace one another by its primary key.

use crate::Compiler;
use crate::data_type::{word_follows, words};
use crate::error::{SqlError, SqlErrorKind, from_parser};
use crate::script::position_of;
use sqlparser::ast::Ident;
use sqlparser::parser::Parser;
use std::sync::Arc;
use streamfleet_logical::{
    ChangelogMode, Node, OperatorSpec, Properties, StateBound, TableDescriptor, UpsertMaterializeSpec,
};

const MATERIALIZE: &str = "table.exec.sink.upsert-materialize";

impl Compiler<'_> {
    /// The node's changes such that the last one of every primary key is the row that the table must hold.
    ///
    /// If every change of a key comes the one way, and an update never leaves its key, they are that already. Else the rows
    /// are brought together by the key, and the one that came last counts.
    pub(crate) fn materialized(&self, node: Arc<Node>, table: &TableDescriptor) -> Arc<Node> {
        let places = table.primary_key.iter().map(|name| node.schema.fields().iter().position(|f| f.name() == name));
        let Some(key) = places.collect::<Option<Vec<usize>>>().filter(|key| !key.is_empty()) else { return node };
        let is_primary = |known: &Vec<usize>| known.len() == key.len() && known.iter().all(|c| key.contains(c));
        let is_needed = match self.setting(MATERIALIZE).map(str::to_lowercase).as_deref() {
            Some("none") => false,
            Some("force") => true,
            _ => {
                node.properties.changelog == ChangelogMode::Retract
                    && !node.properties.upsert_keys.iter().any(is_primary)
            }
        };
        if !is_needed {
            return node;
        }
        let properties = Properties {
            changelog: ChangelogMode::Retract,
            upsert_keys: vec![key.clone()],
            time_attributes: Vec::new(),
            window: None,
            state: StateBound::Keys,
        };
        Arc::new(Node {
            spec: OperatorSpec::UpsertMaterialize(UpsertMaterializeSpec { key }),
            schema: Arc::clone(&node.schema),
            inputs: vec![node],
            properties,
        })
    }

    /// `ON CONFLICT DO DEDUPLICATE` behind a query: the last row counts, as it does without these words.
    pub(crate) fn conflict_clause(&self, parser: &mut Parser<'_>, is_upsert: bool) -> Result<(), SqlError> {
        let position = position_of(&parser.peek_token());
        if !word_follows(parser, "ON") {
            return Ok(());
        }
        words(parser, &["CONFLICT", "DO"])?;
        let at = position_of(&parser.peek_token());
        let Ident { value, .. } = parser.parse_identifier().map_err(|e| from_parser(&e, at))?;
        match value.to_uppercase().as_str() {
            "DEDUPLICATE" if is_upsert => Ok(()),
            "DEDUPLICATE" => {
                let text =
                    "ON CONFLICT needs a table whose rows replace one another by a primary key (as 'upsert-kafka')";
                Err(SqlErrorKind::Invalid(text.to_owned()).at(position))
            }
            "ERROR" | "NOTHING" => {
                let what = format!("ON CONFLICT DO {} (DO DEDUPLICATE is)", value.to_uppercase());
                Err(SqlErrorKind::Unsupported(what).at(at))
            }
            _ => Err(SqlErrorKind::Syntax(format!("expected DEDUPLICATE, found {value}")).at(at)),
        }
    }
}
