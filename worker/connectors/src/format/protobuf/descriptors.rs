//! The descriptors of messages, and which message a name means.

use prost_reflect::prost::Message;
use prost_reflect::prost_types::FileDescriptorSet;
use prost_reflect::{DescriptorPool, MessageDescriptor};
use std::fs::File;
use std::io::Read;

/// The most bytes of a file of descriptors.
const MOST_BYTES: u64 = 64 << 20;

/// What a file says.
///
/// # Errors
/// It cannot be read, or holds something else.
pub(super) fn read(path: &str) -> Result<DescriptorPool, String> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| format!("{path}: {error}"))?;
    file.take(MOST_BYTES).read_to_end(&mut bytes).map_err(|error| format!("{path}: {error}"))?;
    let incomplete = |error: String| {
        format!(
            "{path} holds no complete descriptors: {error}: make it with `protoc --include_imports --descriptor_set_out`"
        )
    };
    let set = FileDescriptorSet::decode(bytes.as_slice()).map_err(|error| incomplete(error.to_string()))?;
    // The library knows the two languages only that came before.
    if let Some(file) = set.file.iter().find(|file| file.syntax() == "editions") {
        return Err(format!("{path}: {} is written in an edition: proto2 and proto3 are supported", file.name()));
    }
    if set.file.is_empty() {
        return Err(incomplete("it is empty".to_owned()));
    }
    DescriptorPool::from_file_descriptor_set(set).map_err(|error| incomplete(error.to_string()))
}

/// The message of this name: its own, with its package, or that of its Java class.
///
/// # Errors
/// There is none.
pub(super) fn find(pool: &DescriptorPool, name: &str) -> Result<MessageDescriptor, String> {
    if let Some(message) = pool.get_message_by_name(name) {
        return Ok(message);
    }
    // `Outer$Inner` and `Outer.Inner` are the same class.
    let wanted = name.replace('$', ".");
    pool.all_messages().find(|message| java_name(message) == wanted).ok_or_else(|| {
        let mut names: Vec<String> = pool
            .all_messages()
            .filter(|message| !message.is_map_entry() && message.package_name() != "google.protobuf")
            .map(|message| message.full_name().to_owned())
            .collect();
        names.sort_unstable();
        let shown = names.iter().take(10).map(String::as_str).collect::<Vec<_>>().join(", ");
        let more = if names.len() > 10 { ", .." } else { "" };
        format!("there is no such message; the file has {shown}{more}")
    })
}

/// The name of the class that `protoc` makes of a message for Java.
fn java_name(message: &MessageDescriptor) -> String {
    let file = message.parent_file();
    let proto = file.file_descriptor_proto();
    let options = proto.options.as_ref();
    let package = options.and_then(|o| o.java_package.as_deref()).unwrap_or_else(|| file.package_name()).to_owned();
    // Below the package: the names of the messages around it, and its own.
    let below = message.full_name().strip_prefix(file.package_name()).unwrap_or(message.full_name());
    let below = below.trim_start_matches('.');
    let mut parts = vec![package];
    if !options.is_some_and(|o| o.java_multiple_files()) {
        let outer = options.and_then(|o| o.java_outer_classname.clone());
        parts.push(outer.unwrap_or_else(|| outer_class(&file)));
    }
    parts.push(below.to_owned());
    parts.retain(|part| !part.is_empty());
    parts.join(".")
}

/// The class around all messages of a file: the file's name in camel case, and more if a type of the file has that name.
fn outer_class(file: &prost_reflect::FileDescriptor) -> String {
    let stem = file.name().rsplit('/').next().unwrap_or_default().trim_end_matches(".proto");
    let mut class = String::new();
    let mut is_start = true;
    for c in stem.chars() {
        if c.is_ascii_alphanumeric() {
            class.push(if is_start { c.to_ascii_uppercase() } else { c });
            is_start = c.is_ascii_digit();
        } else {
            is_start = true;
        }
    }
    let is_taken = file.messages().any(|m| has_name(&m, &class)) || file.enums().any(|e| e.name() == class);
    if is_taken { format!("{class}OuterClass") } else { class }
}

fn has_name(message: &MessageDescriptor, class: &str) -> bool {
    message.name() == class
        || message.child_enums().any(|e| e.name() == class)
        || message.child_messages().any(|child| has_name(&child, class))
}
