//! Log-in by tokens (SASL/OAUTHBEARER, RFC 7628).
//!
//! A token comes from an endpoint that gives it for a client's id and secret, or out of a file that somebody else renews. One thread
//! of the process gets it for all clients that ask for the same, and gets the next when four fifths of its life are over:
//! `options` reads what the table says, `settings` is what it means, `fetch` gets a token once, `provider` keeps one at hand.
//! librdkafka and the client of our own show the same token; librdkafka's own way to an endpoint is not used.

mod fetch;
mod options;
mod provider;
mod settings;
#[cfg(test)]
mod tests;
mod token;

pub(super) use options::{OWN, translate, translate_jaas};
pub(super) use provider::Tokens;
pub(super) use settings::TokenSettings;
pub(super) use token::Token;

/// The mechanism's name.
pub(super) const OAUTHBEARER: &str = "OAUTHBEARER";

/// What to do about a token that brokers refuse.
pub(super) fn refused_token(place: &str) -> String {
    format!(
        "the brokers refuse the token of {place}: check its scope, audience and life, and what the brokers' `sasl.oauthbearer.*` \
         and `sasl.server.callback.handler.class` expect"
    )
}
