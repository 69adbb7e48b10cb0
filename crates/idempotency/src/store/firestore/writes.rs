//! The application's documents in Firestore's form.

use std::{collections::HashMap, fmt, time::SystemTime};

use gcloud_sdk::google::firestore::v1::{
    ArrayValue, Document, DocumentMask, MapValue, Precondition, Value, Write,
    precondition::ConditionType, value::ValueType, write::Operation,
};
use serde::Serialize;
use serde_json::Value as Json;

use super::document;

/// What one of the application's documents must be for a write to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FirestorePrecondition {
    /// It exists, whatever its content.
    Exists,
    /// It is unchanged since it was read with this `update_time`.
    UnchangedSince(SystemTime),
}

/// Why a write cannot be sent to Firestore.
#[derive(Debug)]
pub(super) enum WriteError {
    /// The name of the collection is invalid.
    Collection(String),
    /// The id of the document is invalid.
    Id(String),
    /// The document is not a map.
    NoMap,
    /// A number for which Firestore has no type.
    Number(String),
    /// Serde cannot serialize it.
    Serde(serde_json::Error),
}

pub(super) fn create(name: String, document: &impl Serialize) -> Result<Write, WriteError> {
    Ok(Write {
        current_document: condition(ConditionType::Exists(false)),
        operation: Some(Operation::Update(Document {
            name,
            fields: fields(document)?,
            ..Default::default()
        })),
        ..Default::default()
    })
}

/// Changes the fields that are in `changes`, and leaves the others unchanged.
pub(super) fn update(
    name: String,
    changes: &impl Serialize,
    precondition: FirestorePrecondition,
) -> Result<Write, WriteError> {
    let fields = fields(changes)?;
    Ok(Write {
        current_document: condition(precondition.condition()),
        update_mask: Some(DocumentMask {
            field_paths: fields.keys().map(|name| field_path(name)).collect(),
        }),
        operation: Some(Operation::Update(Document {
            name,
            fields,
            ..Default::default()
        })),
        ..Default::default()
    })
}

pub(super) fn delete(name: String, precondition: FirestorePrecondition) -> Write {
    Write {
        current_document: condition(precondition.condition()),
        operation: Some(Operation::Delete(name)),
        ..Default::default()
    }
}

/// The path of a document. A collection is in the root, or in another document.
pub(super) fn path(collection: &str, id: &str) -> Result<String, WriteError> {
    let is_collection = collection.split('/').count() % 2 == 1;
    if !is_collection || !collection.split('/').all(is_name) {
        return Err(WriteError::Collection(collection.to_owned()));
    }
    if is_name(id) && !id.contains('/') {
        Ok(format!("{collection}/{id}"))
    } else {
        Err(WriteError::Id(id.to_owned()))
    }
}

/// <https://firebase.google.com/docs/firestore/quotas#collections_documents_and_fields>
fn is_name(name: &str) -> bool {
    const MAX_NAME: usize = 1500;
    let is_reserved = name.starts_with("__") && name.ends_with("__");
    !name.is_empty() && name.len() <= MAX_NAME && !matches!(name, "." | "..") && !is_reserved
}

impl FirestorePrecondition {
    fn condition(self) -> ConditionType {
        match self {
            Self::Exists => ConditionType::Exists(true),
            Self::UnchangedSince(time) => ConditionType::UpdateTime(time.into()),
        }
    }
}

fn condition(condition: ConditionType) -> Option<Precondition> {
    Some(Precondition {
        condition_type: Some(condition),
    })
}

/// A name that is not an identifier is put in backticks.
fn field_path(name: &str) -> String {
    let mut letters = name.chars();
    let is_identifier = letters
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    if is_identifier {
        name.to_owned()
    } else {
        format!("`{}`", name.replace('\\', r"\\").replace('`', r"\`"))
    }
}

fn fields(document: &impl Serialize) -> Result<HashMap<String, Value>, WriteError> {
    match serde_json::to_value(document).map_err(WriteError::Serde)? {
        Json::Object(members) => map(members),
        _ => Err(WriteError::NoMap),
    }
}

fn map(members: serde_json::Map<String, Json>) -> Result<HashMap<String, Value>, WriteError> {
    let members = members.into_iter();
    let fields = members.map(|(name, member)| Ok((name, value(member)?)));
    fields.collect()
}

fn value(json: Json) -> Result<Value, WriteError> {
    Ok(document::value(match json {
        Json::Null => ValueType::NullValue(0),
        Json::Bool(value) => ValueType::BooleanValue(value),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => ValueType::IntegerValue(integer),
            // An integer beyond 64 bits would lose digits as a float.
            (None, Some(double)) if number.is_f64() => ValueType::DoubleValue(double),
            _ => return Err(WriteError::Number(number.to_string())),
        },
        Json::String(text) => ValueType::StringValue(text),
        Json::Array(values) => ValueType::ArrayValue(ArrayValue {
            values: values.into_iter().map(value).collect::<Result<_, _>>()?,
        }),
        Json::Object(members) => ValueType::MapValue(MapValue {
            fields: map(members)?,
        }),
    }))
}

impl fmt::Display for WriteError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Collection(collection) => write!(
                formatter,
                "{collection:?} is not a collection, such as bookings or hotels/ritz/bookings",
            ),
            Self::Id(id) => write!(formatter, "{id:?} cannot be the id of a document"),
            Self::NoMap => formatter.write_str("a document is written from a struct or a map"),
            Self::Number(number) => {
                write!(
                    formatter,
                    "Firestore has no integers like {number}: write a string"
                )
            }
            Self::Serde(_) => formatter.write_str("the document cannot be serialized"),
        }
    }
}

impl std::error::Error for WriteError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Serde(error) => Some(error),
            _ => None,
        }
    }
}
