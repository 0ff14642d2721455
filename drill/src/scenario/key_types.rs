//! Types of keys that scenarios have in common. Each reads and checks itself, and describes itself to editors.

use std::{borrow::Borrow, fmt, marker::PhantomData, ops::Deref, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, SeqAccess, Visitor, value::StrDeserializer},
};

use super::{FaultTarget, Which, key_value::out_of, named::hint};

/// A string that says something: it is not empty, and not of blanks alone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("minLength" = 1))]
pub struct Text(String);

impl TryFrom<String> for Text {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.trim().is_empty() {
            return Err("it must not be empty");
        }
        Ok(Self(text))
    }
}

impl From<Text> for String {
    fn from(text: Text) -> Self {
        text.0
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Text {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// A path with patterns, relative to a target's directory: `*` stays within a name, `**` is any depth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("minLength" = 1))]
pub struct Glob(pub glob::Pattern);

impl TryFrom<String> for Glob {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let problem = if text.trim().is_empty() {
            "it must not be empty"
        } else if text.starts_with('/') || text.split('/').any(|part| part == "..") {
            "a fault stays inside of its target; write a path relative to the target's directory"
        } else if text.split('/').any(|part| part.is_empty() || part == ".") {
            "it has an empty part; write names or patterns with one `/` between them"
        } else {
            let pattern = glob::Pattern::new(&text).map(Self);
            return pattern.map_err(|error| format!("{}; `*` stays within a name, `**` is any depth", error.msg));
        };
        Err(problem.to_owned())
    }
}

impl From<Glob> for String {
    fn from(glob: Glob) -> Self {
        glob.0.as_str().to_owned()
    }
}

/// Bytes as hexadecimal digits, with blanks between them: `"de ad be ef"`. At least one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("minLength" = 1))]
pub struct Hex(pub Vec<u8>);

impl TryFrom<String> for Hex {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let digits: String = text.split_whitespace().collect();
        if digits.is_empty() {
            return Err("it must hold at least one byte".to_owned());
        }
        let bytes = hex::decode(digits).map(Self);
        bytes.map_err(|error| format!("{error}; write two hexadecimal digits a byte"))
    }
}

impl From<Hex> for String {
    fn from(bytes: Hex) -> Self {
        hex::encode(bytes.0)
    }
}

/// One backup, which something comes from: `backup:latest`, `backup:oldest` or `backup:N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = "^backup:(latest|oldest|[1-9][0-9]*)$"))]
pub struct OneBackup(pub Which);

impl TryFrom<String> for OneBackup {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match FaultTarget::from_name(&text) {
            Some(FaultTarget::Backup(which)) if which != Which::All => Ok(Self(which)),
            _ => Err("an older copy comes from one backup: backup:latest, backup:oldest or backup:N"),
        }
    }
}

impl From<OneBackup> for String {
    fn from(backup: OneBackup) -> Self {
        FaultTarget::Backup(backup.0).to_string()
    }
}

/// A whole number from `LEAST` to `MOST`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Between<const LEAST: u64, const MOST: u64>(u64);

/// A whole number that is not less than `LEAST`.
pub type AtLeast<const LEAST: u64> = Between<LEAST, { u64::MAX }>;

impl<const LEAST: u64, const MOST: u64> Between<LEAST, MOST> {
    /// The number, if it is neither less nor more.
    pub fn new(number: u64) -> Option<Self> {
        (LEAST..=MOST).contains(&number).then_some(Self(number))
    }

    /// The number.
    pub fn get(self) -> u64 {
        self.0
    }
}

impl<'de, const LEAST: u64, const MOST: u64> Deserialize<'de> for Between<LEAST, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number<const LEAST: u64, const MOST: u64>;

        impl<const LEAST: u64, const MOST: u64> Visitor<'_> for Number<LEAST, MOST> {
            type Value = Between<LEAST, MOST>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an integer")
            }

            fn visit_i128<E: de::Error>(self, number: i128) -> Result<Self::Value, E> {
                let number = u64::try_from(number).ok().and_then(Between::new);
                number.ok_or_else(|| E::custom(out_of(LEAST, MOST)))
            }
        }

        deserializer.deserialize_any(Number)
    }
}

impl<const LEAST: u64, const MOST: u64> JsonSchema for Between<LEAST, MOST> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("from {LEAST} to {MOST}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        match MOST {
            u64::MAX => json_schema!({ "type": "integer", "minimum": LEAST }),
            _ => json_schema!({ "type": "integer", "minimum": LEAST, "maximum": MOST }),
        }
    }
}

/// A duration: `"1h 30min"`, `"2s"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lasting(pub Duration);

impl<'de> Deserialize<'de> for Lasting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words;

        impl Visitor<'_> for Words {
            type Value = Lasting;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as \"1h 30min\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Lasting, E> {
                let length = humantime::parse_duration(text).map(Lasting);
                length.map_err(|error| E::custom(format!("{error}; write a duration such as \"1h 30min\" or \"2s\"")))
            }
        }

        deserializer.deserialize_any(Words)
    }
}

impl Serialize for Lasting {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(self.0))
    }
}

impl JsonSchema for Lasting {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 1 })
    }
}

/// A list, or one value in place of a list of one; never empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct OneOrMore<T>(pub Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMore<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Some<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Some<T> {
            type Value = OneOrMore<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                T::deserialize(StrDeserializer::new(text)).map(|one| OneOrMore(vec![one]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut all = Vec::new();
                while let Option::Some(one) = list.next_element()? {
                    all.push(one);
                }
                if all.is_empty() {
                    return Err(de::Error::custom("the list must not be empty"));
                }
                Ok(OneOrMore(all))
            }
        }

        deserializer.deserialize_any(Some(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for OneOrMore<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("one or more of {}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [one, { "type": "array", "minItems": 1, "items": one }] })
    }
}

/// A role of the application's database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("enum" = fixtures::Role::ALL.map(fixtures::Role::name)))]
pub struct DatabaseRole(pub fixtures::Role);

impl TryFrom<String> for DatabaseRole {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let all = fixtures::Role::ALL;
        let role = all.into_iter().find(|role| role.name() == text).map(Self);
        role.ok_or_else(|| hint(&text, all.map(fixtures::Role::name)))
    }
}

impl From<DatabaseRole> for String {
    fn from(role: DatabaseRole) -> Self {
        role.0.name().to_owned()
    }
}

impl From<DatabaseRole> for Option<fixtures::Role> {
    fn from(role: DatabaseRole) -> Self {
        Some(role.0)
    }
}

impl From<OneOrMore<Text>> for Vec<String> {
    fn from(all: OneOrMore<Text>) -> Self {
        all.0.into_iter().map(String::from).collect()
    }
}

impl<const LEAST: u64, const MOST: u64> From<Between<LEAST, MOST>> for Option<u64> {
    fn from(number: Between<LEAST, MOST>) -> Self {
        Some(number.0)
    }
}

impl<const LEAST: u64, const MOST: u64> From<Between<LEAST, MOST>> for Option<u32> {
    fn from(number: Between<LEAST, MOST>) -> Self {
        u32::try_from(number.0).ok()
    }
}

impl From<Lasting> for Option<Duration> {
    fn from(length: Lasting) -> Self {
        Some(length.0)
    }
}

/// For `deserialize_with`: reads a `K`, which checks and describes itself, for what the scenario keeps of it.
pub(super) fn via<'de, K: Deserialize<'de>, T: From<K>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    K::deserialize(deserializer).map(T::from)
}

/// For `serialize_with`: writes what may be absent as it displays itself.
#[expect(clippy::ref_option, reason = "serde hands it over so")]
pub(super) fn shown<T: fmt::Display, S: Serializer>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
    value.as_ref().map(T::to_string).serialize(serializer)
}

/// For `serialize_with`: writes a duration that may be absent.
#[expect(clippy::ref_option, reason = "serde hands it over so")]
pub(super) fn lasting<S: Serializer>(length: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    length.map(Lasting).serialize(serializer)
}
