//! The OpenAPI schemas of a booking's members. `bookings::validation` enforces the same rules.

use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, Type},
};

use super::MAX_CHARACTERS;

/// A name or an id: no control characters, and not only white space.
pub(super) struct Text;

/// A time of day, in hours and minutes.
pub(super) struct TimeOfDay;

impl PartialSchema for Text {
    fn schema() -> RefOr<Schema> {
        let schema = ObjectBuilder::new()
            .schema_type(Type::String)
            .min_length(Some(1))
            .max_length(Some(MAX_CHARACTERS))
            .pattern(Some(
                r"^[^\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f][^\u0000-\u001f\u007f-\u009f]*$",
            ))
            .examples(["Ann"]);
        schema.into()
    }
}

impl ToSchema for Text {}

impl PartialSchema for TimeOfDay {
    fn schema() -> RefOr<Schema> {
        let schema = ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some("^([01][0-9]|2[0-3]):[0-5][0-9]$"))
            .examples(["10:00"]);
        schema.into()
    }
}

impl ToSchema for TimeOfDay {}
