//! The Nexmark benchmark's events: people, auctions and bids of an online auction.
//!
//! Event `n` (from 0) is a pure function of the options and `n`: no state is kept but the number of the next block.
//! Events come in blocks; a block is one batch, generated column by column, and only the columns, leaves and kinds of
//! event that the query uses. Proportions, fields and distributions are those of the published benchmark.

mod auction;
mod bid;
mod columns;
mod events;
mod options;
mod person;
mod price;
mod source;
mod text;

use crate::options::option;
use options::Options;
use source::NexmarkSource;
use streamfleet_dataflow::{DataflowError, Source, SourceContext};
use streamfleet_logical::{ConnectorDescriptor, OptionKind, ScanSpec};

/// What the planner knows of it.
pub fn descriptor() -> ConnectorDescriptor {
    use OptionKind::{Boolean, Duration, Integer, MemorySize, OneOf};
    ConnectorDescriptor {
        name: "nexmark",
        source: true,
        sink: false,
        sink_takes_changes: false,
        uses_format: false,
        key_format: false,
        options: vec![
            option("events.num", Integer, "0", "How many events; 0: without end."),
            option("stop-at", Integer, "-1", "End after so many events even if events.num is more; -1: do not."),
            option("keep-alive", Boolean, "false", "Do not end after the last event."),
            option("first-event.rate", Integer, "10000", "Events per second of event time."),
            option("next-event.rate", Integer, "10000", "Taken, and without effect, as in the published generator."),
            option(
                "rate.shape",
                OneOf(&["SQUARE", "SINE"]),
                "SQUARE",
                "Taken, and without effect, as in the published generator.",
            ),
            option("rate.period", Duration, "600 s", "Taken, and without effect, as in the published generator."),
            option(
                "rate.limited",
                Boolean,
                "false",
                "Give events no sooner than their event time has passed since the start.",
            ),
            option("max-emit-speed", Boolean, "true", "false: the same as 'rate.limited' = 'true'."),
            option("person.proportion", Integer, "1", "People among person + auction + bid proportions."),
            option("auction.proportion", Integer, "3", "Auctions among person + auction + bid proportions."),
            option("bid.proportion", Integer, "46", "Bids among person + auction + bid proportions."),
            option("person.avg-size", MemorySize, "200 b", "Mean size of a person."),
            option("auction.avg-size", MemorySize, "500 b", "Mean size of an auction."),
            option("bid.avg-size", MemorySize, "100 b", "Mean size of a bid, without channel and url."),
            option("bid.hot-ratio.auctions", Integer, "2", "One bid in so many is not for a hot auction."),
            option("bid.hot-ratio.bidders", Integer, "4", "One bid in so many is not by a hot bidder."),
            option("auction.hot-ratio.sellers", Integer, "4", "One auction in so many is not by a hot seller."),
            option("base-time", Integer, "1436918400000", "Event time of the first event, ms since the Unix epoch."),
            option("seed", Integer, "0", "Another seed gives other events."),
            option("splits", Integer, "", "Parts read in parallel; the source's parallelism at first start if absent."),
        ],
        metadata: vec![],
        ..ConnectorDescriptor::default()
    }
}

/// The source of a table.
pub fn source(spec: &ScanSpec, context: SourceContext) -> Result<Box<dyn Source>, DataflowError> {
    Ok(Box::new(NexmarkSource::new(spec, context)?))
}

/// True if the events end.
pub fn is_bounded(spec: &ScanSpec) -> Result<bool, DataflowError> {
    Ok(Options::of(&spec.table)?.is_bounded())
}

#[cfg(test)]
mod tests;
