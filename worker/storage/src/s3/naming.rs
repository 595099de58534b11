//! Places on S3, and how paths and keys go together.

/// A bucket and a folder in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Place {
    /// The bucket.
    pub bucket: String,
    /// Begins every key: empty, or ending in a slash.
    pub prefix: String,
}

impl S3Place {
    /// Out of `s3://bucket/folder` or `s3a://bucket/folder`; `None` for anything else.
    pub fn parse(location: &str) -> Option<Self> {
        let place = location.strip_prefix("s3://").or_else(|| location.strip_prefix("s3a://"))?;
        let (bucket, folder) = place.split_once('/').unwrap_or((place, ""));
        let folder = folder.trim_matches('/');
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        (!bucket.is_empty()).then(|| Self { bucket: bucket.to_owned(), prefix })
    }

    /// True for a location that names S3.
    pub fn is_one(location: &str) -> bool {
        location.starts_with("s3://") || location.starts_with("s3a://")
    }
}

/// Turns paths into keys and back.
#[derive(Debug)]
pub(super) struct Naming {
    /// Begins every path.
    path_prefix: String,
    /// Begins every key instead.
    key_prefix: String,
}

impl Naming {
    pub fn below(place: &S3Place) -> Self {
        Self { path_prefix: String::new(), key_prefix: place.prefix.clone() }
    }

    pub fn whole(bucket: &str) -> Self {
        Self { path_prefix: format!("s3://{bucket}/"), key_prefix: String::new() }
    }

    pub fn key(&self, path: &str) -> String {
        format!("{}{}", self.key_prefix, path.strip_prefix(self.path_prefix.as_str()).unwrap_or(path))
    }

    /// `None` for a key that lies elsewhere.
    pub fn path(&self, key: &str) -> Option<String> {
        key.strip_prefix(self.key_prefix.as_str()).map(|rest| format!("{}{rest}", self.path_prefix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_parsed_and_paths_become_keys_and_back() {
        let place = |bucket: &str, prefix: &str| Some(S3Place { bucket: bucket.to_owned(), prefix: prefix.to_owned() });
        assert_eq!(S3Place::parse("s3://b/x/y"), place("b", "x/y/"));
        assert_eq!(S3Place::parse("s3a://b/x/"), place("b", "x/"));
        assert_eq!(S3Place::parse("s3://b"), place("b", ""));
        for other in ["s3://", "s3:///x", "/b/x", "gs://b/x"] {
            assert_eq!(S3Place::parse(other), None, "{other}");
        }
        let below = Naming::below(&S3Place::parse("s3://b/x/job").expect("a place"));
        assert_eq!(below.key("log/1"), "x/job/log/1");
        assert_eq!(below.path("x/job/log/1").as_deref(), Some("log/1"));
        assert_eq!(below.path("x/other/log/1"), None);
        let whole = Naming::whole("b");
        assert_eq!(whole.key("s3://b/out/a"), "out/a");
        assert_eq!(whole.path("out/a").as_deref(), Some("s3://b/out/a"));
    }
}
