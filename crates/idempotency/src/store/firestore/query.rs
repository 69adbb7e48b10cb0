//! The two queries over all records.

use std::time::SystemTime;

use gcloud_sdk::google::firestore::v1::{
    Cursor, StructuredQuery,
    structured_query::{
        CollectionSelector, Direction, FieldFilter, FieldReference, Filter, Order, Projection,
        field_filter::Operator, filter::FilterType,
    },
    value::ValueType,
};

use super::document::{COLLECTION, EXPIRES_AT, timestamp, value};

/// How many whole records one query returns: each may be a mebibyte.
pub(super) const MAX_LISTED: usize = 50;

/// How many documents Firestore deletes in one call.
pub(super) const MAX_PURGED: usize = 500;

const NAME: &str = "__name__";

/// Records in the order of their ids, only those after this document.
pub(super) fn behind(name: Option<String>, limit: usize) -> StructuredQuery {
    StructuredQuery {
        order_by: vec![ascending(NAME)],
        start_at: name.map(|name| Cursor {
            values: vec![value(ValueType::ReferenceValue(name))],
            before: false,
        }),
        ..records(limit)
    }
}

/// The names of documents that may be deleted, those first that expired first.
pub(super) fn deletable(now: SystemTime, limit: usize) -> StructuredQuery {
    let filter = FieldFilter {
        field: Some(field(EXPIRES_AT)),
        op: Operator::LessThanOrEqual.into(),
        value: Some(value(timestamp(now))),
    };
    StructuredQuery {
        select: Some(Projection {
            fields: vec![field(NAME)],
        }),
        r#where: Some(Filter {
            filter_type: Some(FilterType::FieldFilter(filter)),
        }),
        order_by: vec![ascending(EXPIRES_AT)],
        ..records(limit)
    }
}

fn records(limit: usize) -> StructuredQuery {
    StructuredQuery {
        from: vec![CollectionSelector {
            collection_id: COLLECTION.into(),
            all_descendants: false,
        }],
        limit: Some(limit.try_into().unwrap_or(i32::MAX)),
        ..Default::default()
    }
}

fn ascending(path: &str) -> Order {
    Order {
        field: Some(field(path)),
        direction: Direction::Ascending.into(),
    }
}

fn field(path: &str) -> FieldReference {
    FieldReference {
        field_path: path.into(),
    }
}
