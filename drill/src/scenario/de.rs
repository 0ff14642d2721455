//! Reads values of a file by serde; every error names its place in the file.
//!
//! [`KeyValue`] and [`Table`] are deserializers: a type that derives `Deserialize` reads itself from them. Each error that serde
//! makes without a place gets that of the value, or of the key, at which it arose.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeSeed, Error as _, IntoDeserializer as _, Visitor, value::BorrowedStrDeserializer},
    forward_to_deserialize_any,
};
use toml::de::DeValue;

use super::{
    ScenarioError,
    key_value::KeyValue,
    named::{hint, quoted},
    table::Table,
};

/// What is wrong, with or without its place.
#[derive(Debug)]
pub(super) enum ReadError {
    /// With its place.
    Placed(Box<ScenarioError>),
    /// The value is invalid, and why.
    Value(String),
    /// The value has another type than this one.
    Type(String),
    /// The table has no key of that name, but these.
    UnknownKey(String, &'static [&'static str]),
    /// The table lacks this key.
    MissingKey(&'static str),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Placed(error) => error.fmt(f),
            Self::Value(problem) => f.write_str(problem),
            Self::Type(expected) => write!(f, "it must be {expected}"),
            Self::UnknownKey(key, _) => write!(f, "unknown key `{key}`"),
            Self::MissingKey(key) => write!(f, "key `{key}` is missing"),
        }
    }
}

impl std::error::Error for ReadError {}

impl From<ScenarioError> for ReadError {
    fn from(error: ScenarioError) -> Self {
        Self::Placed(Box::new(error))
    }
}

impl de::Error for ReadError {
    fn custom<T: fmt::Display>(problem: T) -> Self {
        Self::Value(problem.to_string())
    }

    fn invalid_type(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::Type(expected.to_string())
    }

    fn unknown_variant(name: &str, known: &'static [&'static str]) -> Self {
        Self::Value(hint(name, known.iter().copied()))
    }

    fn unknown_field(key: &str, known: &'static [&'static str]) -> Self {
        Self::UnknownKey(key.to_owned(), known)
    }

    fn missing_field(key: &'static str) -> Self {
        Self::MissingKey(key)
    }
}

impl<'t> KeyValue<'t> {
    /// Reads it as a `T`.
    pub(super) fn read<T: Deserialize<'t>>(self) -> Result<T, ScenarioError> {
        T::deserialize(self).map_err(|error| self.placed(error))
    }

    /// Gives an error the place of this value, if it has none.
    fn placed(&self, error: ReadError) -> ScenarioError {
        match error {
            ReadError::Placed(error) => *error,
            ReadError::Type(expected) => self.wrong_type(expected),
            other => self.bad(other.to_string()),
        }
    }
}

macro_rules! integers {
    ($($deserialize:ident $visit:ident $type:ident,)+) => {
        $(fn $deserialize<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
            let number = self.integer($type::MIN.into(), $type::MAX.into())?;
            visitor.$visit($type::try_from(number).map_err(ReadError::custom)?)
        })+
    };
}

impl<'de> Deserializer<'de> for KeyValue<'de> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.value() {
            DeValue::String(text) => visitor.visit_borrowed_str(text),
            DeValue::Integer(_) => visitor.visit_i128(self.signed()?),
            DeValue::Float(number) => visitor.visit_f64(number.as_str().parse().map_err(ReadError::custom)?),
            DeValue::Boolean(value) => visitor.visit_bool(*value),
            DeValue::Datetime(time) => visitor.visit_bytes(time.to_string().as_bytes()), // what is no time has no bytes
            DeValue::Array(_) => self.deserialize_seq(visitor),
            DeValue::Table(_) => self.deserialize_map(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_bool(self.boolean()?)
    }

    integers! {
        deserialize_u8 visit_u8 u8,
        deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64,
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_borrowed_str(self.string()?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_some(self) // what is none is not there
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_seq(Entries(self.list()?.into_iter()))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.table(&format!("`{}`", self.key()))?.deserialize_map(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.table(name)?.deserialize_map(visitor)
    }

    /// A name, or a table with one key, which is the name of a variant with a value.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        if self.value().as_table().is_none() {
            return visitor.visit_enum(self.string()?.into_deserializer());
        }
        let table = self.table(&format!("`{}`", self.key()))?;
        match table.keys() {
            [(key, span, _)] if !variants.contains(key) => Err(table.unknown(key, span.start, variants).into()),
            [(key, _, value)] => visitor.visit_enum(Variant(table.item(key, value))),
            [] => Err(table.placed(ReadError::MissingKey(variants.first().unwrap_or(&"")))),
            _ => Err(self
                .bad(format!(
                    "it has more than one of {}; leave one of them",
                    quoted(variants)
                ))
                .into()),
        }
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any
    }
}

impl<'de> Deserializer<'de> for &Table<'de> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor
            .visit_map(Keys { table: self, next: 0 })
            .map_err(|error| self.placed(error))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// The keys of a table with their values, in the file's order.
struct Keys<'a, 'de> {
    table: &'a Table<'de>,
    next: usize,
}

impl<'de> de::MapAccess<'de> for Keys<'_, 'de> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ReadError> {
        let Some((key, span, _)) = self.table.keys().get(self.next) else {
            return Ok(None);
        };
        let read = seed.deserialize(BorrowedStrDeserializer::<ReadError>::new(key));
        read.map(Some).map_err(|error| match error {
            ReadError::UnknownKey(key, known) => self.table.unknown(&key, span.start, known).into(),
            other => other,
        })
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ReadError> {
        let Some((key, _, value)) = self.table.keys().get(self.next) else {
            return Err(de::Error::custom("there is no value"));
        };
        self.next += 1;
        let item = self.table.item(key, value);
        seed.deserialize(item).map_err(|error| item.placed(error).into())
    }
}

/// The entries of a list.
struct Entries<'de>(std::vec::IntoIter<KeyValue<'de>>);

impl<'de> de::SeqAccess<'de> for Entries<'de> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, ReadError> {
        let next = self.0.next();
        next.map(|item| seed.deserialize(item).map_err(|error| item.placed(error).into()))
            .transpose()
    }
}

/// A variant with its value.
struct Variant<'de>(KeyValue<'de>);

impl<'de> de::EnumAccess<'de> for Variant<'de> {
    type Error = ReadError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), ReadError> {
        let name = BorrowedStrDeserializer::<ReadError>::new(self.0.key());
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> de::VariantAccess<'de> for Variant<'de> {
    type Error = ReadError;

    fn unit_variant(self) -> Result<(), ReadError> {
        Err(self.0.bad("it has no value").into())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, ReadError> {
        seed.deserialize(self.0).map_err(|error| self.0.placed(error).into())
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, ReadError> {
        self.0.deserialize_seq(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, ReadError> {
        self.0.deserialize_map(visitor)
    }
}
