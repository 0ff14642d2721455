//! What a commit writes beside its content, in the form in which it is journalled and compared.

use bytes::BytesMut;
use chrono::{DateTime, Duration, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use sha2::{Digest as _, Sha256};
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, accepts, to_sql_checked};

/// A `timestamptz` as the server stores it: microseconds since 2000-01-01 UTC, infinities included. 0 stands for unknown:
/// no row of a drill is that old.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PgTime(pub i64);

/// 2000-01-01 UTC in seconds since 1970.
const EPOCH_S: i64 = 946_684_800;

impl PgTime {
    /// Now.
    pub fn now() -> Self {
        Self(Utc::now().timestamp_micros() - EPOCH_S * 1_000_000)
    }

    /// Whether it is a time at all.
    pub fn is_known(self) -> bool {
        self != Self::default()
    }

    /// For [`Operation::facts`](super::Operation::facts).
    pub fn digest(self) -> u64 {
        digest([Some(self.0.to_string().as_str())])
    }

    /// As wall time, where the calendar reaches so far.
    pub fn utc(self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp(EPOCH_S, 0)?.checked_add_signed(Duration::microseconds(self.0))
    }
}

/// First 8 bytes of a SHA-256 over texts, each with its length; `None` is a NULL. Never 0.
pub fn digest<'a>(texts: impl IntoIterator<Item = Option<&'a str>>) -> u64 {
    let mut hasher = Sha256::new();
    for text in texts {
        let length = text.map_or(u64::MAX, |text| text.len() as u64);
        hasher.update(length.to_be_bytes());
        hasher.update(text.unwrap_or_default());
    }
    let hash = hasher.finalize();
    let first = hash.first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    first.max(1)
}

/// How a writer signs its rows.
pub fn author(writer: u32) -> String {
    format!("writer-{writer}")
}

/// Which writer signed so, if one did.
pub fn author_number(author: &str) -> Option<u16> {
    author.strip_prefix("writer-")?.parse().ok()
}

impl Serialize for PgTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.utc() {
            Some(utc) => serializer.serialize_str(&utc.to_rfc3339_opts(SecondsFormat::Micros, true)),
            None => serializer.serialize_str(if self.0 < 0 { "-infinity" } else { "infinity" }),
        }
    }
}

impl<'de> Deserialize<'de> for PgTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.as_str() {
            "infinity" => Ok(Self(i64::MAX)),
            "-infinity" => Ok(Self(i64::MIN)),
            _ => {
                let utc: DateTime<Utc> = text.parse().map_err(D::Error::custom)?;
                Ok(Self(utc.timestamp_micros() - EPOCH_S * 1_000_000))
            }
        }
    }
}

impl<'a> FromSql<'a> for PgTime {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(i64::from_be_bytes(raw.try_into()?)))
    }

    accepts!(TIMESTAMPTZ);
}

impl ToSql for PgTime {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.extend_from_slice(&self.0.to_be_bytes());
        Ok(IsNull::No)
    }

    accepts!(TIMESTAMPTZ);
    to_sql_checked!();
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{PgTime, author, author_number, digest};

    #[test]
    fn texts_that_are_cut_elsewhere_differ() {
        assert_ne!(digest([Some("ab"), Some("c")]), digest([Some("a"), Some("bc")]));
        assert_ne!(digest([Some("a"), None]), digest([Some("a"), Some("")]));
    }

    #[test]
    fn times_are_written_for_people_and_read_back_to_the_microsecond() {
        for time in [PgTime(1), PgTime(-1), PgTime::now(), PgTime(i64::MAX), PgTime(i64::MIN)] {
            let text = serde_json::to_string(&time).unwrap();
            assert_eq!(serde_json::from_str::<PgTime>(&text).unwrap(), time, "{text}");
        }
        assert_eq!(
            serde_json::to_string(&PgTime(1_500_000)).unwrap(),
            "\"2000-01-01T00:00:01.500000Z\""
        );
    }

    #[test]
    fn writers_are_known_by_their_signature() {
        assert_eq!(author_number(&author(7)), Some(7));
        assert_eq!(author_number("mallory"), None);
    }
}
