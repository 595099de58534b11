//! Flink's types for a planned query: DataFusion's planner reads every whole number as BIGINT and has its own rules for
//! decimals. Done once, on the plan; what comes out needs no further conversion by DataFusion's rules.

use crate::functions::{CAST, TRY_CAST, concat, convert, decimal, modulo, per_second, simpler_cast};
use arrow::datatypes::DataType;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{Column, DFSchema, Result, ScalarValue, plan_err};
use datafusion_expr::expr::{InList, ScalarFunction};
use datafusion_expr::expr_rewriter::NamePreserver;
use datafusion_expr::utils::merge_schema;
use datafusion_expr::{
    Between, BinaryExpr, Case, Expr, ExprSchemable, Like, LogicalPlan, LogicalPlanBuilder, Operator, Union,
};
use std::sync::Arc;
use streamfleet_logical::type_name;

/// Gives every expression of a plan Flink's types.
///
/// # Errors
/// Types that do not go together.
pub(crate) fn typed(plan: LogicalPlan) -> Result<LogicalPlan> {
    let typed = plan.transform_up(|plan| {
        let schema = merge_schema(&plan.inputs());
        let names = NamePreserver::new(&plan);
        let typed = plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let typed = expr.transform_up(|e| expression(e, &schema).map(Transformed::yes))?;
            Ok(typed.update_data(|e| name.restore(e)))
        })?;
        typed.transform_data(|plan| match plan {
            LogicalPlan::Union(union) => typed_union(union.inputs).map(Transformed::yes),
            other => other.recompute_schema().map(Transformed::yes),
        })
    })?;
    Ok(typed.data)
}

/// A union whose branches give every column in one type.
fn typed_union(inputs: Vec<Arc<LogicalPlan>>) -> Result<LogicalPlan> {
    let type_of = |input: &LogicalPlan, column: usize| input.schema().field(column).data_type().clone();
    let common = (0..inputs[0].schema().fields().len()).map(|column| {
        let types: Vec<DataType> = inputs.iter().map(|input| type_of(input, column)).collect();
        if types.iter().all(|t| *t == types[0]) { Ok(types[0].clone()) } else { no_common("UNION", &types) }
    });
    let common = common.collect::<Result<Vec<_>>>()?;
    let in_common = |input: Arc<LogicalPlan>| -> Result<Arc<LogicalPlan>> {
        if common.iter().enumerate().all(|(column, to)| type_of(&input, column) == *to) {
            return Ok(input);
        }
        let columns = input.schema().iter().zip(&common).map(|((qualifier, field), to)| {
            let column = Expr::Column(Column::new(qualifier.cloned(), field.name()));
            if field.data_type() == to {
                column
            } else {
                convert(column, field.data_type(), to).alias_qualified(qualifier.cloned(), field.name())
            }
        });
        let columns: Vec<Expr> = columns.collect();
        Ok(Arc::new(LogicalPlanBuilder::from(input).project(columns)?.build()?))
    };
    let inputs = inputs.into_iter().map(in_common).collect::<Result<Vec<_>>>()?;
    Ok(LogicalPlan::Union(Union::try_new(inputs)?))
}

/// The same for one expression over a schema.
///
/// # Errors
/// Types that do not go together.
pub(crate) fn typed_expression(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    expr.transform_up(|e| expression(e, schema).map(Transformed::yes)).map(|t| t.data)
}

fn expression(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    let type_of = |e: &Expr| e.get_type(schema);
    Ok(match expr {
        Expr::Literal(ScalarValue::Int64(Some(value)), metadata) => match i32::try_from(value) {
            Ok(value) => Expr::Literal(ScalarValue::Int32(Some(value)), metadata),
            Err(_) => Expr::Literal(ScalarValue::Int64(Some(value)), metadata),
        },
        Expr::Literal(ScalarValue::UInt64(Some(value)), _) => {
            return plan_err!("{value} is greater than a BIGINT: write it with a fraction, such as {value}.0");
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let types = (type_of(&left)?, type_of(&right)?);
            binary(*left, op, *right, types)?
        }
        Expr::Negative(inner) => match type_of(&inner)? {
            number if number.is_numeric() || matches!(number, DataType::Interval(_)) => Expr::Negative(inner),
            other => return plan_err!("- of {} is not possible", type_name(&other)),
        },
        Expr::Between(Between { expr, negated, low, high }) => {
            let types = [type_of(&expr)?, type_of(&low)?, type_of(&high)?];
            let common = comparable(&types, "BETWEEN")?;
            let [a, b, c] = &types;
            let (a, b, c) = (convert(*expr, a, &common), convert(*low, b, &common), convert(*high, c, &common));
            Expr::Between(Between::new(Box::new(a), negated, Box::new(b), Box::new(c)))
        }
        Expr::InList(InList { expr, list, negated }) => {
            let of_list = list.iter().map(type_of).collect::<Result<Vec<_>>>()?;
            let of_expr = type_of(&expr)?;
            let all: Vec<DataType> = std::iter::once(of_expr.clone()).chain(of_list.iter().cloned()).collect();
            let common = comparable(&all, "IN")?;
            let list = list.into_iter().zip(&of_list).map(|(e, t)| convert(e, t, &common)).collect();
            Expr::InList(InList::new(Box::new(convert(*expr, &of_expr, &common)), list, negated))
        }
        Expr::Case(case) => typed_case(case, schema)?,
        Expr::Like(like) => Expr::Like(typed_like(like, schema)?),
        Expr::ScalarFunction(call) => function(call, schema)?,
        Expr::AggregateFunction(call) => {
            if let Some(filter) = &call.params.filter {
                boolean(&type_of(filter)?, "FILTER")?;
            }
            Expr::AggregateFunction(call)
        }
        other => other,
    })
}

fn binary(left: Expr, op: Operator, right: Expr, types: (DataType, DataType)) -> Result<Expr> {
    let with = |a: Expr, b: Expr| Expr::BinaryExpr(BinaryExpr::new(Box::new(a), op, Box::new(b)));
    let (l, r) = &types;
    match op {
        Operator::Plus | Operator::Minus | Operator::Multiply | Operator::Divide | Operator::Modulo => {
            arithmetic(left, op, right, &types)
        }
        Operator::Eq
        | Operator::NotEq
        | Operator::Lt
        | Operator::LtEq
        | Operator::Gt
        | Operator::GtEq
        | Operator::IsDistinctFrom
        | Operator::IsNotDistinctFrom => {
            let common = comparable(&[l.clone(), r.clone()], &op.to_string())?;
            Ok(with(convert(left, l, &common), convert(right, r, &common)))
        }
        Operator::StringConcat => {
            if [l, r] != [&DataType::Utf8; 2] {
                return plan_err!("|| of {} and {} is not possible: cast both to STRING", type_name(l), type_name(r));
            }
            Ok(concat(vec![left, right]))
        }
        _ => Ok(with(left, right)),
    }
}

fn arithmetic(left: Expr, op: Operator, right: Expr, types: &(DataType, DataType)) -> Result<Expr> {
    use DataType as T;
    let with = |a: Expr, b: Expr| Expr::BinaryExpr(BinaryExpr::new(Box::new(a), op, Box::new(b)));
    let both = |to: &T| with(convert(left.clone(), &types.0, to), convert(right.clone(), &types.1, to));
    Ok(match types {
        (T::Null, _) | (_, T::Null) => return plan_err!("{op} of NULL without a type: write CAST(NULL AS INT)"),
        (T::Float32, T::Float64) | (T::Float64, T::Float32) => {
            return plan_err!("{op} of FLOAT and DOUBLE is not supported: cast the FLOAT to DOUBLE");
        }
        // The rest of a division is of the divisor's type.
        (a, b) if a.is_integer() && b.is_integer() && op == Operator::Modulo => modulo(left, right),
        (a, b) if a.is_integer() && b.is_integer() => both(wider(a, b)),
        (a, b) if op == Operator::Modulo && (a.is_floating() || b.is_floating()) => {
            return plan_err!("% of {} and {} is not possible: both must be exact", type_name(a), type_name(b));
        }
        (a, b) if is_float(a, b) => both(&T::Float32),
        (a, b) if (a.is_floating() && b.is_numeric()) || (a.is_numeric() && b.is_floating()) => both(&T::Float64),
        (a, b) if decimal::as_decimal(a).is_some() && decimal::as_decimal(b).is_some() => {
            decimal::arithmetic(op, left, right)
        }
        (T::Timestamp(..) | T::Date32, T::Interval(_)) if matches!(op, Operator::Plus | Operator::Minus) => {
            with(left, right)
        }
        (T::Interval(_), T::Timestamp(..) | T::Date32) if op == Operator::Plus => with(right, left),
        (a, b) => return plan_err!("{op} of {} and {} is not possible", type_name(a), type_name(b)),
    })
}

/// FLOAT with FLOAT or a whole number is FLOAT; with anything else it is DOUBLE.
fn is_float(a: &DataType, b: &DataType) -> bool {
    let fits = |t: &DataType| *t == DataType::Float32 || t.is_integer();
    fits(a) && fits(b) && (*a == DataType::Float32 || *b == DataType::Float32)
}

fn wider<'t>(a: &'t DataType, b: &'t DataType) -> &'t DataType {
    if a.primitive_width() >= b.primitive_width() { a } else { b }
}

/// The type in which values are compared: a text is read as the time that it is compared with.
fn comparable(types: &[DataType], operator: &str) -> Result<DataType> {
    let others: Vec<DataType> = types.iter().filter(|t| **t != DataType::Utf8 && !t.is_null()).cloned().collect();
    let common = if others.is_empty() { common(types) } else { common(&others) };
    let has_text = types.contains(&DataType::Utf8);
    match common {
        Some(common) if (!has_text || common == DataType::Utf8 || is_time(&common)) && holds(&common, &others) => {
            Ok(common)
        }
        _ => {
            let names: Vec<String> = types.iter().map(type_name).collect();
            plan_err!("{operator} of {} is not possible: cast one of them", names.join(" and "))
        }
    }
}

/// The type that takes the values of all these.
fn common(types: &[DataType]) -> Option<DataType> {
    types.iter().try_fold(DataType::Null, |all, one| common_of_two(&all, one))
}

fn common_of_two(a: &DataType, b: &DataType) -> Option<DataType> {
    use DataType as T;
    Some(match (a, b) {
        (a, b) if a == b => a.clone(),
        (T::Null, other) | (other, T::Null) => other.clone(),
        (a, b) if a.is_integer() && b.is_integer() => wider(a, b).clone(),
        (a, b) if is_float(a, b) => T::Float32,
        (a, b) if (a.is_floating() && b.is_numeric()) || (a.is_numeric() && b.is_floating()) => T::Float64,
        (a, b) if a.is_numeric() && b.is_numeric() => {
            let (precision, scale) = decimal::common(decimal::as_decimal(a)?, decimal::as_decimal(b)?);
            T::Decimal128(precision, scale)
        }
        (T::Timestamp(x, zone), T::Timestamp(y, other)) => {
            let finer = if per_second(*x) >= per_second(*y) { x } else { y };
            T::Timestamp(*finer, zone.clone().or_else(|| other.clone()))
        }
        _ => return None,
    })
}

/// Whether no digit of decimals is lost.
fn holds(common: &DataType, types: &[DataType]) -> bool {
    let DataType::Decimal128(precision, scale) = common else { return true };
    let fits = |(p, s): (u8, i8)| s <= *scale && p as i8 - s <= *precision as i8 - scale;
    types.iter().filter_map(decimal::as_decimal).all(fits)
}

const fn is_time(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(..) | DataType::Date32 | DataType::Time32(_))
}

fn no_common(name: &str, types: &[DataType]) -> Result<DataType> {
    let mixes_floats = types.contains(&DataType::Float32) && types.contains(&DataType::Float64);
    match common(types).filter(|_| !mixes_floats) {
        Some(common) => Ok(common),
        None => {
            let names: Vec<String> = types.iter().map(type_name).collect();
            plan_err!("{name} of {} has no common type: cast them to one", names.join(" and "))
        }
    }
}

fn typed_case(case: Case, schema: &DFSchema) -> Result<Expr> {
    let type_of = |e: &Expr| e.get_type(schema);
    let mut results = case.when_then_expr.iter().map(|(_, then)| type_of(then)).collect::<Result<Vec<_>>>()?;
    if let Some(otherwise) = &case.else_expr {
        results.push(type_of(otherwise)?);
    }
    let common = no_common("CASE", &results)?;
    let mut compared = Vec::new();
    if let Some(operand) = &case.expr {
        compared.push(type_of(operand)?);
        for (when, _) in &case.when_then_expr {
            compared.push(type_of(when)?);
        }
    }
    let as_compared = if compared.is_empty() { None } else { Some(comparable(&compared, "CASE")?) };
    if compared.is_empty() {
        for (when, _) in &case.when_then_expr {
            boolean(&type_of(when)?, "WHEN")?;
        }
    }
    let in_comparison = |expr: Expr, at: usize| match &as_compared {
        Some(to) => convert(expr, &compared[at], to),
        None => expr,
    };
    let operand = case.expr.map(|e| Box::new(in_comparison(*e, 0)));
    let branches = case.when_then_expr.into_iter().enumerate().map(|(at, (when, then))| {
        (Box::new(in_comparison(*when, at + 1)), Box::new(convert(*then, &results[at], &common)))
    });
    let branches: Vec<_> = branches.collect();
    let otherwise = case.else_expr.map(|e| Box::new(convert(*e, &results[branches.len()], &common)));
    Ok(Expr::Case(Case::new(operand, branches, otherwise)))
}

fn boolean(data_type: &DataType, what: &str) -> Result<()> {
    match data_type {
        DataType::Boolean | DataType::Null => Ok(()),
        other => plan_err!("{what} takes a BOOLEAN, not {}", type_name(other)),
    }
}

/// Patterns as DataFusion reads them: it knows the backslash only.
fn typed_like(like: Like, schema: &DFSchema) -> Result<Like> {
    for side in [&like.expr, &like.pattern] {
        let side = side.get_type(schema)?;
        if side != DataType::Utf8 && !side.is_null() {
            return plan_err!("LIKE of {} is not possible: cast it to STRING", type_name(&side));
        }
    }
    let Expr::Literal(ScalarValue::Utf8(Some(pattern)), metadata) = like.pattern.as_ref() else {
        if like.pattern.get_type(schema)?.is_null() {
            return Ok(like);
        }
        return plan_err!("LIKE with a pattern that is not a constant is not supported");
    };
    let escape = like.escape_char;
    let mut translated = String::with_capacity(pattern.len());
    let mut rest = pattern.chars();
    while let Some(next) = rest.next() {
        if Some(next) == escape {
            match rest.next() {
                Some(special) if Some(special) == escape || special == '%' || special == '_' => {
                    if ['\\', '%', '_'].contains(&special) {
                        translated.push('\\');
                    }
                    translated.push(special);
                }
                _ => return plan_err!("LIKE '{pattern}': behind `{next}` must stand `{next}`, `%` or `_`"),
            }
        } else {
            if next == '\\' {
                translated.push('\\');
            }
            translated.push(next);
        }
    }
    let pattern = Expr::Literal(ScalarValue::Utf8(Some(translated)), metadata.clone());
    Ok(Like { pattern: Box::new(pattern), escape_char: None, ..like })
}

fn function(call: ScalarFunction, schema: &DFSchema) -> Result<Expr> {
    let types = call.args.iter().map(|e| e.get_type(schema)).collect::<Result<Vec<_>>>()?;
    let name = call.func.name().to_owned();
    if name.starts_with(CAST) || name.starts_with(TRY_CAST) {
        return Ok(simpler_cast(&call, &types[0]).unwrap_or(Expr::ScalarFunction(call)));
    }
    let in_common = |args: Vec<Expr>, types: &[DataType]| -> Result<Vec<Expr>> {
        let common = no_common(&name.to_uppercase(), types)?;
        Ok(args.into_iter().zip(types).map(|(e, t)| convert(e, t, &common)).collect())
    };
    let ScalarFunction { func, args } = call;
    Ok(match name.as_str() {
        "if" => {
            let mut args = args.into_iter();
            match (args.next(), in_common(args.collect(), &types[1..])?) {
                (Some(condition), branches) if branches.len() == 2 => {
                    let mut branches = branches.into_iter().map(Box::new);
                    let then = branches.next().map(|then| (Box::new(condition), then));
                    Expr::Case(Case::new(None, then.into_iter().collect(), branches.next()))
                }
                _ => return plan_err!("IF takes a condition and two values"),
            }
        }
        "typeof" => Expr::Literal(ScalarValue::Utf8(Some(type_name(&types[0]))), None),
        "mod" => {
            let mut args = args.into_iter();
            match (args.next(), args.next(), &types[..]) {
                (Some(a), Some(b), [x, y]) => binary(a, Operator::Modulo, b, (x.clone(), y.clone()))?,
                _ => return plan_err!("MOD takes two numbers"),
            }
        }
        "ifnull" => Expr::ScalarFunction(ScalarFunction::new_udf(
            datafusion_functions::core::coalesce(),
            in_common(args, &types)?,
        )),
        "greatest" | "least" if types.iter().any(DataType::is_null) => {
            return plan_err!("{} of NULL without a type: write CAST(NULL AS INT)", name.to_uppercase());
        }
        "coalesce" | "greatest" | "least" | "array of" => {
            Expr::ScalarFunction(ScalarFunction { func, args: in_common(args, &types)? })
        }
        "nullif" => {
            // CASE WHEN a = b THEN NULL ELSE a END: the result is of the first one's type.
            let [a, b] = &args[..] else { return plan_err!("NULLIF takes two values") };
            let compared = comparable(&types, "NULLIF")?;
            let equal = convert(a.clone(), &types[0], &compared).eq(convert(b.clone(), &types[1], &compared));
            if compared == types[0] && compared == types[1] {
                Expr::ScalarFunction(ScalarFunction { func, args })
            } else {
                let null = Expr::Literal(ScalarValue::try_from(&types[0])?, None);
                Expr::Case(Case::new(None, vec![(Box::new(equal), Box::new(null))], Some(Box::new(a.clone()))))
            }
        }
        _ => Expr::ScalarFunction(ScalarFunction { func, args }),
    })
}
