//! The frame of our own scalar functions: a name, the types it takes and gives, and the work on columns.

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, StringArray, StringBuilder};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion_common::{Result, ScalarValue, plan_err};
use datafusion_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// The types that the arguments are converted to, given theirs.
type Takes = fn(&str, &[DataType]) -> Result<Vec<DataType>>;
/// The result's type, given the converted arguments'.
type Gives = fn(&[DataType]) -> DataType;
/// The work.
type Run = fn(&ScalarFunctionArgs) -> Result<ArrayRef>;

/// What is looked at of the constant arguments.
type Check = fn(&[Option<&ScalarValue>]) -> Result<()>;

/// A function that is known by its name.
struct Scalar {
    name: &'static str,
    signature: Signature,
    takes: Takes,
    gives: Gives,
    run: Run,
    check: Check,
}

impl fmt::Debug for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Scalar {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Scalar {}

impl Hash for Scalar {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

pub(super) fn scalar(name: &'static str, takes: Takes, gives: Gives, run: Run) -> ScalarUDF {
    checked(name, takes, gives, run, |_| Ok(()))
}

/// A function that refuses some constants in planning.
pub(super) fn checked(name: &'static str, takes: Takes, gives: Gives, run: Run, check: Check) -> ScalarUDF {
    let signature = Signature::user_defined(Volatility::Immutable);
    ScalarUDF::new_from_impl(Scalar { name, signature, takes, gives, run, check })
}

impl ScalarUDFImpl for Scalar {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        (self.takes)(self.name, arguments)
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        Ok((self.gives)(arguments))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        (self.check)(args.scalar_arguments)?;
        let types: Vec<DataType> = args.arg_fields.iter().map(|f| f.data_type().clone()).collect();
        Ok(Arc::new(Field::new(self.name, (self.gives)(&types), true)))
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(ColumnarValue::Array((self.run)(&call)?))
    }
}

/// What a function takes, one letter an argument: `t` text, `i` INT, `b` BIGINT, `d` DOUBLE; behind `?` may be left out.
/// A number is taken for text nowhere, and a text for a number nowhere.
pub(super) fn take(name: &str, arguments: &[DataType], shape: &str) -> Result<Vec<DataType>> {
    let upper = name.to_uppercase();
    let least = shape.find('?').unwrap_or(shape.len());
    let letters: Vec<char> = shape.chars().filter(|c| *c != '?').collect();
    if arguments.len() < least || arguments.len() > letters.len() {
        return plan_err!("{upper} does not take {} arguments", arguments.len());
    }
    let mut types = Vec::with_capacity(arguments.len());
    for (letter, given) in letters.iter().zip(arguments) {
        let (wanted, fits) = match letter {
            't' => (DataType::Utf8, *given == DataType::Utf8),
            'i' => (DataType::Int32, given.is_integer()),
            'b' => (DataType::Int64, given.is_integer()),
            _ => (DataType::Float64, given.is_numeric()),
        };
        if !fits && !given.is_null() {
            let what = match letter {
                't' => "STRING",
                'i' | 'b' => "a whole number",
                _ => "a number",
            };
            return plan_err!("{upper} takes {what} there, not {}", streamfleet_logical::type_name(given));
        }
        types.push(wanted);
    }
    Ok(types)
}

/// A text argument by row: a column, or one value for all rows.
pub(super) enum Texts {
    Column(StringArray),
    Value(Option<String>),
}

impl Texts {
    pub fn of(value: &ColumnarValue) -> Result<Self> {
        Ok(match value {
            ColumnarValue::Array(array) => Self::Column(array.as_string::<i32>().clone()),
            ColumnarValue::Scalar(scalar) => {
                let one = scalar.to_array()?;
                let texts = one.as_string::<i32>();
                Self::Value((!texts.is_null(0)).then(|| texts.value(0).to_owned()))
            }
        })
    }

    pub fn get(&self, row: usize) -> Option<&str> {
        match self {
            Self::Value(value) => value.as_deref(),
            Self::Column(texts) => texts.is_valid(row).then(|| texts.value(row)),
        }
    }
}

/// An INT argument by row.
pub(super) enum Integers {
    Column(Int32Array),
    Value(Option<i32>),
}

impl Integers {
    pub fn of(value: &ColumnarValue) -> Result<Self> {
        Ok(match value {
            ColumnarValue::Array(array) => Self::Column(array.as_primitive().clone()),
            ColumnarValue::Scalar(scalar) => {
                let one = scalar.to_array()?;
                let numbers = one.as_primitive::<arrow::datatypes::Int32Type>();
                Self::Value(numbers.is_valid(0).then(|| numbers.value(0)))
            }
        })
    }

    pub fn get(&self, row: usize) -> Option<i32> {
        match self {
            Self::Value(value) => *value,
            Self::Column(numbers) => numbers.is_valid(row).then(|| numbers.value(row)),
        }
    }
}

/// A column of texts, each borrowed from an argument.
pub(super) fn borrowed<'a>(rows: usize, value: impl Fn(usize) -> Option<&'a str>) -> ArrayRef {
    let mut builder = StringBuilder::with_capacity(rows, rows * 8);
    (0..rows).for_each(|row| builder.append_option(value(row)));
    Arc::new(builder.finish())
}

/// A column of texts, each written into a buffer that is used again; `None` gives NULL.
pub(super) fn written(rows: usize, write: impl Fn(usize, &mut String) -> Option<()>) -> ArrayRef {
    let mut builder = StringBuilder::with_capacity(rows, rows * 16);
    let mut text = String::new();
    for row in 0..rows {
        text.clear();
        let is_there = write(row, &mut text).is_some();
        builder.append_option(is_there.then_some(&text));
    }
    Arc::new(builder.finish())
}

/// A column of INTs.
pub(super) fn counted(rows: usize, value: impl Fn(usize) -> Option<i32>) -> ArrayRef {
    Arc::new((0..rows).map(value).collect::<Int32Array>())
}
