//! The functions that SQL can reach: an allow-list, under Flink's names, each with Flink's meaning.

mod aggregate;
mod by_position;
mod numeric;
mod text;
mod time;

pub(crate) use by_position::by_position;

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
        use datafusion_functions::{core, math, string, unicode};
        let mut functions = Self { scalars: BTreeMap::new(), aggregates: BTreeMap::new(), windows: BTreeMap::new() };
        // DataFusion's own whose meaning is Flink's.
        let as_they_are = [
            ("abs", math::abs()),
            ("exp", math::exp()),
            ("ln", math::ln()),
            ("sqrt", math::sqrt()),
            ("power", math::power()),
            ("ceil", math::ceil()),
            ("ceiling", math::ceil()),
            ("floor", math::floor()),
            ("round", math::round()),
            ("sign", math::signum()),
            ("lower", string::lower()),
            ("upper", string::upper()),
            ("btrim", string::btrim()),
            ("trim", string::btrim()),
            ("ltrim", string::ltrim()),
            ("rtrim", string::rtrim()),
            ("concat_ws", string::concat_ws()),
            ("replace", string::replace()),
            ("repeat", string::repeat()),
            ("ascii", string::ascii()),
            ("char_length", unicode::character_length()),
            ("character_length", unicode::character_length()),
            ("substr", unicode::substr()),
            ("substring", unicode::substr()),
            ("initcap", unicode::initcap()),
            ("lpad", unicode::lpad()),
            ("rpad", unicode::rpad()),
            ("reverse", unicode::reverse()),
            ("coalesce", core::coalesce()),
            ("nullif", core::nullif()),
            ("greatest", core::greatest()),
            ("least", core::least()),
        ];
        for (name, function) in as_they_are {
            functions.scalars.insert(name.to_owned(), function);
        }
        for function in numeric::all().into_iter().chain(text::all()).chain(time::all()) {
            functions.add(function);
        }
        for function in aggregate::all() {
            functions.aggregates.insert(function.name().to_owned(), Arc::new(function));
        }
        functions.windows.insert("row_number".to_owned(), datafusion_functions_window::row_number::row_number_udwf());
        functions
    }

    fn add(&mut self, function: ScalarUDF) {
        let function = Arc::new(function);
        for alias in function.aliases() {
            self.scalars.insert(alias.clone(), Arc::clone(&function));
        }
        self.scalars.insert(function.name().to_owned(), function);
    }

    /// The scalar function with this class, as `CREATE FUNCTION .. AS` names it.
    pub fn of_class(&self, class: &str) -> Option<Arc<ScalarUDF>> {
        match class {
            "com.github.nexmark.flink.udf.CountChar" => self.scalars.get("count_char").cloned(),
            _ => None,
        }
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.scalars.keys().chain(self.aggregates.keys()).chain(self.windows.keys()).map(String::as_str)
    }
}
