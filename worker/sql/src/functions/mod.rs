//! The functions that SQL can reach: an allow-list, under Flink's names, each with Flink's meaning.

mod aggregate;
mod by_position;
mod cast;
pub(crate) mod decimal;
mod hash;
mod json;
mod nested;
mod numeric;
mod regex;
mod scalar;
mod text;
mod time;
mod window;

pub(crate) use by_position::by_position;
pub(crate) use cast::{CAST, TRY_CAST, convert, per_second, simpler as simpler_cast};
pub(crate) use numeric::modulo;
pub(crate) use text::concat;
pub(crate) use time::PROCTIME;
pub(crate) use window::ROW_NUMBER;

use datafusion_expr::{AggregateUDF, ScalarUDF, WindowUDF};
use std::collections::BTreeMap;
use std::sync::Arc;

/// All functions by lower-case name.
#[derive(Debug)]
pub(crate) struct Functions {
    pub scalars: BTreeMap<String, Arc<ScalarUDF>>,
    pub aggregates: BTreeMap<String, Arc<AggregateUDF>>,
    pub windows: BTreeMap<String, Arc<WindowUDF>>,
}

impl Functions {
    pub fn new() -> Self {
        let mut functions = Self { scalars: BTreeMap::new(), aggregates: BTreeMap::new(), windows: BTreeMap::new() };
        // DataFusion's own whose meaning is Flink's; `typing` gives their arguments one type.
        let as_they_are =
            [("coalesce", datafusion_functions::core::coalesce()), ("nullif", datafusion_functions::core::nullif())];
        for (name, function) in as_they_are {
            functions.scalars.insert(name.to_owned(), function);
        }
        for function in
            [numeric::all(), text::all(), regex::all(), time::all(), nested::all(), json::all(), hash::all()]
                .into_iter()
                .flatten()
        {
            functions.add(function);
        }
        for function in aggregate::all() {
            functions.aggregates.insert(function.name().to_owned(), Arc::new(function));
        }
        functions.windows.insert(ROW_NUMBER.to_owned(), Arc::new(window::row_number()));
        functions
    }

    fn add(&mut self, function: ScalarUDF) {
        self.scalars.insert(function.name().to_owned(), Arc::new(function));
    }

    /// The scalar function with a name, or the conversion that a name stands for.
    pub fn scalar(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.scalars.get(&name.to_lowercase()).cloned().or_else(|| cast::of_name(name).map(Arc::new))
    }

    /// The scalar function with this class, as `CREATE FUNCTION .. AS` names it.
    pub fn of_class(&self, class: &str) -> Option<Arc<ScalarUDF>> {
        match class {
            "com.github.nexmark.flink.udf.CountChar" => self.scalars.get("count_char").cloned(),
            _ => None,
        }
    }

    /// The names that a query can call: those with a space stand for special forms.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let all = self.scalars.keys().chain(self.aggregates.keys()).chain(self.windows.keys()).map(String::as_str);
        all.filter(|name| !name.contains(' '))
    }
}

#[cfg(test)]
#[path = "documented_tests.rs"]
mod tests;
