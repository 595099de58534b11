//! A job over changelogs: orders move between customers and go, customers are renamed, and the tables that come of it are
//! kept in topics by their keys.

use crate::jobs::{READ, topic, written_topic};
use std::collections::BTreeMap;
use streamfleet_launcher::JobMode;
use streamfleet_simulation::{SimJob, SimTopic};

const ORDERS: u64 = 500;
const CUSTOMERS: u64 = 12;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Order {
    customer: u64,
    amount: u64,
}

/// What becomes of a row.
struct Change<T> {
    id: u64,
    before: Option<T>,
    after: Option<T>,
}

impl<T> Change<T> {
    /// As Debezium writes it.
    fn record(&self, fields: impl Fn(&T) -> String) -> String {
        let row = |row: &Option<T>| {
            row.as_ref().map_or("null".to_owned(), |row| format!("{{\"id\":{},{}}}", self.id, fields(row)))
        };
        let op = match (&self.before, &self.after) {
            (None, _) => "c",
            (_, None) => "d",
            _ => "u",
        };
        format!("{{\"before\":{},\"after\":{},\"op\":\"{op}\"}}", row(&self.before), row(&self.after))
    }
}

/// Every row with what becomes of it: the nth time, `next` says what the row is from then on.
fn history<T: Clone>(rows: u64, times: u64, next: impl Fn(u64, u64) -> Option<T>) -> Vec<Change<T>> {
    let mut held: BTreeMap<u64, T> = BTreeMap::new();
    let mut changes = Vec::new();
    for nth in 0..times {
        for id in 0..rows {
            let (before, after) = (held.get(&id).cloned(), next(id, nth));
            match &after {
                Some(row) => held.insert(id, row.clone()),
                None => held.remove(&id),
            };
            if before.is_some() || after.is_some() {
                changes.push(Change { id, before, after });
            }
        }
    }
    changes
}

fn last<T: Clone>(changes: &[Change<T>]) -> BTreeMap<u64, T> {
    let mut held = BTreeMap::new();
    for change in changes {
        match &change.after {
            Some(row) => held.insert(change.id, row.clone()),
            None => held.remove(&change.id),
        };
    }
    held
}

/// Every third time an order has another customer; some go, and some of these come again.
fn orders() -> Vec<Change<Order>> {
    history(ORDERS, 4, |id, nth| {
        let mixed = (id * 31 + nth * 17) % 101;
        (mixed % 9 != 1).then(|| Order { customer: (id + nth / 2 * mixed) % (CUSTOMERS + 1), amount: mixed })
    })
}

fn customers() -> Vec<Change<String>> {
    history(CUSTOMERS, 20, |id, nth| ((id + nth) % 7 != 3).then(|| format!("customer {id} of {}", nth / 3)))
}

/// Orders with their customers' names by order, with and without those of unknown customers; and the names of which there
/// is much.
pub fn between_changelogs() -> SimJob {
    const TAKE: &str = "'connector' = 'upsert-kafka', 'properties.bootstrap.servers' = 'broker:9092', \
        'key.format' = 'json', 'value.format' = 'json', 'sink.delivery-guarantee' = 'exactly-once'";
    let script = format!(
        "CREATE TABLE orders (id BIGINT, customer BIGINT, amount BIGINT, PRIMARY KEY (id) NOT ENFORCED)
            WITH ({READ}, 'format' = 'debezium-json', 'topic' = 'orders');
        CREATE TABLE customers (id BIGINT, name STRING, PRIMARY KEY (id) NOT ENFORCED)
            WITH ({READ}, 'format' = 'debezium-json', 'topic' = 'customers');
        CREATE TABLE named (id BIGINT, name STRING, amount BIGINT, PRIMARY KEY (id) NOT ENFORCED)
            WITH ({TAKE}, 'topic' = 'named');
        CREATE TABLE whole (id BIGINT, name STRING, amount BIGINT, PRIMARY KEY (id) NOT ENFORCED)
            WITH ({TAKE}, 'topic' = 'whole');
        CREATE TABLE much (name STRING, amount BIGINT, PRIMARY KEY (name) NOT ENFORCED) WITH ({TAKE}, 'topic' = 'much');
        INSERT INTO named SELECT o.id, c.name, o.amount FROM orders o JOIN customers c ON o.customer = c.id;
        INSERT INTO whole SELECT o.id, c.name, o.amount FROM orders o LEFT JOIN customers c ON o.customer = c.id;
        INSERT INTO much SELECT name, amount FROM (
            SELECT c.name, SUM(o.amount) AS amount FROM orders o JOIN customers c ON o.customer = c.id GROUP BY c.name)
            WHERE amount > 1600;"
    );
    let (orders, customers) = (orders(), customers());
    let orders_of = |order: &Order| format!("\"customer\":{},\"amount\":{}", order.customer, order.amount);
    let (order_ids, customer_ids): (Vec<u64>, Vec<u64>) =
        (orders.iter().map(|c| c.id).collect(), customers.iter().map(|c| c.id).collect());
    let order_records = orders.iter().map(|change| change.record(orders_of));
    let customer_records = customers.iter().map(|change| change.record(|name| format!("\"name\":\"{name}\"")));
    let mut topics: Vec<SimTopic> = vec![
        topic("orders", order_records, |number| order_ids[number as usize]),
        topic("customers", customer_records, |number| customer_ids[number as usize]),
    ];
    topics.extend(["named", "whole", "much"].map(|name| written_topic(name, true)));
    let job = SimJob::new(&script, JobMode::Streaming, Vec::new(), "out/").expect("the script compiles");
    job.with_topics(topics)
}

/// What the topics must hold, computed from the histories' ends: topic, key and value.
pub fn expected() -> Vec<String> {
    let (orders, customers) = (last(&orders()), last(&customers()));
    let mut lines = Vec::new();
    let mut sums: BTreeMap<&String, u64> = BTreeMap::new();
    for (id, Order { customer, amount }) in &orders {
        let name = customers.get(customer);
        let shown = name.map_or("null".to_owned(), |name| format!("\"{name}\""));
        let row = format!("{{\"id\":{id}}}: {{\"id\":{id},\"name\":{shown},\"amount\":{amount}}}");
        lines.push(format!("whole {row}"));
        if let Some(name) = name {
            lines.push(format!("named {row}"));
            *sums.entry(name).or_default() += amount;
        }
    }
    for (name, amount) in sums.into_iter().filter(|(_, amount)| *amount > 1600) {
        lines.push(format!("much {{\"name\":\"{name}\"}}: {{\"name\":\"{name}\",\"amount\":{amount}}}"));
    }
    lines.sort();
    lines
}
