//! Metrics, declared beside what they measure and read only when somebody asks: counting costs a plain store.

use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Encoder, TextEncoder};
use std::fmt::Write;

/// What a value does over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, until the process ends.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// The moment of reading.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    /// Wall clock, milliseconds since 1970.
    pub now_ms: i64,
}

/// A metric of a `T`.
#[derive(Debug)]
pub struct Declared<T: 'static> {
    /// Name as Prometheus wants it: with unit, and `_total` for a counter.
    pub name: &'static str,
    /// What it measures, in a sentence.
    pub help: &'static str,
    /// What it does over time.
    pub kind: Kind,
    /// Its value; `None` if this `T` has none (yet).
    pub read: fn(&T, Reading) -> Option<f64>,
}

impl<T> Declared<T> {
    /// A metric that only grows.
    pub const fn counter(name: &'static str, help: &'static str, read: fn(&T, Reading) -> Option<f64>) -> Self {
        Self { name, help, kind: Kind::Counter, read }
    }

    /// A metric that goes up and down.
    pub const fn gauge(name: &'static str, help: &'static str, read: fn(&T, Reading) -> Option<f64>) -> Self {
        Self { name, help, kind: Kind::Gauge, read }
    }
}

/// A label's name and value.
pub type Label<'a> = (&'static str, &'a str);

/// Collects samples and renders them as text.
#[derive(Debug, Default)]
pub struct Exposition {
    families: Vec<MetricFamily>,
}

impl Exposition {
    /// Adds every declared metric of every sample; a sample is its labels and what is measured.
    pub fn add<T>(&mut self, declared: &[Declared<T>], samples: &[(Vec<Label<'_>>, &T)], reading: Reading) {
        for metric in declared {
            let values = samples.iter().filter_map(|(labels, of)| {
                let value = (metric.read)(of, reading)?;
                Some(sample(metric.kind, labels, value))
            });
            let values: Vec<Metric> = values.collect();
            if values.is_empty() {
                continue;
            }
            let mut family = MetricFamily::default();
            family.set_name(metric.name.to_owned());
            family.set_help(metric.help.to_owned());
            family.set_field_type(match metric.kind {
                Kind::Counter => MetricType::COUNTER,
                Kind::Gauge => MetricType::GAUGE,
            });
            family.set_metric(values);
            self.families.push(family);
        }
    }

    /// The text that Prometheus reads.
    pub fn render(&self) -> String {
        let mut text = Vec::new();
        TextEncoder::new()
            .encode(&self.families, &mut text)
            .expect("every family has samples, and memory takes any text");
        String::from_utf8(text).expect("the encoder writes UTF-8")
    }
}

fn sample(kind: Kind, labels: &[Label<'_>], value: f64) -> Metric {
    let pair = |(name, value): &Label<'_>| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    let mut metric = Metric::default();
    let pairs: Vec<LabelPair> = labels.iter().map(pair).collect();
    metric.set_label(pairs);
    match kind {
        Kind::Counter => {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        }
        Kind::Gauge => {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
    }
    metric
}

/// Rows of a table for people: name, kind, labels, meaning.
pub fn describe<T>(declared: &[Declared<T>], labels: &[&str]) -> String {
    let mut text = String::new();
    let labels = labels.iter().map(|l| format!("`{l}`")).collect::<Vec<_>>().join(", ");
    for metric in declared {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        writeln!(text, "| `{}` | {kind} | {labels} | {} |", metric.name, metric.help).expect("a string takes any text");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const METRICS: &[Declared<u64>] = &[
        Declared::counter("streamfleet_things_total", "Things.", |n, _| Some(*n as f64)),
        Declared::gauge("streamfleet_age_seconds", "Age.", |n, at| (*n > 1).then_some(at.now_ms as f64 / 1e3)),
    ];

    #[test]
    fn renders_what_prometheus_reads() {
        let mut exposition = Exposition::default();
        let samples = [(vec![("job", "a\"b")], &1), (vec![("job", "c")], &2)];
        exposition.add(METRICS, &samples, Reading { now_ms: 1_500 });
        let expected = "# HELP streamfleet_things_total Things.\n# TYPE streamfleet_things_total counter\n\
            streamfleet_things_total{job=\"a\\\"b\"} 1\nstreamfleet_things_total{job=\"c\"} 2\n\
            # HELP streamfleet_age_seconds Age.\n# TYPE streamfleet_age_seconds gauge\n\
            streamfleet_age_seconds{job=\"c\"} 1.5\n";
        assert_eq!(exposition.render(), expected);
    }
}
