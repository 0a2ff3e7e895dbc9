//! Any store that a test can fill, so that one list of points is asked of all.

/// A store.
pub trait Shop {
    /// Stores an object; one that is there already becomes another version.
    async fn put(&self, key: &str, bytes: Vec<u8>);
    /// The media URI of a key.
    fn uri(&self, key: &str) -> String;
}
