//! What can be chosen by its name: backup systems, services, stores, monitors.
//!
//! A registry is a value, and whoever calls drill as a library can add to it before a run begins. Nothing is loaded.

/// Something that can be chosen.
#[derive(Debug, Clone)]
pub struct Entry<T> {
    /// Its name on the command line, in files and in evidence.
    pub name: &'static str,
    /// What it is, in a few words.
    pub about: &'static str,
    /// What makes it, or what is known of it.
    pub what: T,
}

/// What can be chosen, in the order in which it was added. The first entry is the default.
#[derive(Debug, Clone)]
pub struct Registry<T> {
    /// What one of these is called: `backup system`.
    called: &'static str,
    entries: Vec<Entry<T>>,
}

/// There is nothing of that name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no {called} {name:?}; there are {}", names.join(", "))]
pub struct Unknown {
    called: &'static str,
    name: String,
    names: Vec<&'static str>,
}

impl<T> Registry<T> {
    /// An empty registry, whose entries messages call `called`.
    pub fn new(called: &'static str) -> Self {
        let entries = Vec::new();
        Self { called, entries }
    }

    /// Adds an entry; it replaces one of the same name.
    #[must_use]
    pub fn with(mut self, name: &'static str, about: &'static str, what: T) -> Self {
        let entry = Entry { name, about, what };
        match self.entries.iter_mut().find(|known| known.name == name) {
            Some(known) => *known = entry,
            None => self.entries.push(entry),
        }
        self
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Entry<T>> {
        self.entries.iter()
    }

    /// Their names.
    pub fn names(&self) -> Vec<&'static str> {
        self.iter().map(|entry| entry.name).collect()
    }

    /// The first, which is the default.
    ///
    /// # Errors
    /// If there is none at all.
    pub fn first(&self) -> Result<&Entry<T>, Unknown> {
        self.entries.first().ok_or_else(|| Unknown {
            called: self.called,
            name: String::new(),
            names: Vec::new(),
        })
    }

    /// The one of that name.
    ///
    /// # Errors
    /// If there is none: with the names that there are.
    pub fn named(&self, name: &str) -> Result<&Entry<T>, Unknown> {
        self.iter().find(|entry| entry.name == name).ok_or_else(|| Unknown {
            called: self.called,
            name: name.to_owned(),
            names: self.names(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Registry;

    #[test]
    fn what_is_added_last_wins_and_what_is_not_there_is_told_with_what_is() {
        let registry = Registry::new("colour")
            .with("red", "", 1)
            .with("blue", "", 2)
            .with("red", "", 3);
        assert_eq!(registry.names(), ["red", "blue"]);
        assert_eq!(registry.named("red").map(|entry| entry.what), Ok(3));
        let told = registry
            .named("green")
            .map(|entry| entry.what)
            .map_err(|error| error.to_string());
        assert_eq!(
            told,
            Err("there is no colour \"green\"; there are red, blue".to_owned())
        );
    }
}
