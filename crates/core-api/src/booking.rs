//! A booking, and the bodies of requests about bookings.

mod schema;

use std::sync::Arc;

use chrono::{DateTime, NaiveDate, NaiveTime, SecondsFormat, SubsecRound, Utc};
use serde::{Deserialize, Serialize, Serializer};
use utoipa::ToSchema;
use uuid::Uuid;

use schema::{Text, TimeOfDay};

/// The longest name and the longest id of a service, in Unicode scalar values.
pub(crate) const MAX_CHARACTERS: usize = 200;

/// A booking, as responses show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Booking {
    /// The booking's id, which the service chooses. It begins with the time, so later bookings have greater ids.
    pub(crate) id: Uuid,
    /// The subject that owns the booking; `None` if the service was open when it was made. Clients do not see it.
    #[serde(skip)]
    pub(crate) owner: Option<Arc<str>>,
    /// What is booked.
    pub(crate) service_id: String,
    /// For whom it is booked.
    pub(crate) customer_name: String,
    /// The day of the appointment.
    pub(crate) date: NaiveDate,
    /// The hour and minute of the appointment.
    #[schema(value_type = TimeOfDay)]
    #[serde(serialize_with = "hours_and_minutes")]
    pub(crate) time: NaiveTime,
    pub(crate) status: Status,
    /// When the booking was made.
    #[serde(serialize_with = "milliseconds")]
    pub(crate) created_at: DateTime<Utc>,
}

/// The bookings that a request sees and changes. Others are treated as absent.
#[derive(Clone, Debug)]
pub(crate) enum Whose {
    Everyones,
    Of(Arc<str>),
}

/// The status of a booking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    Confirmed,
    Cancelled,
}

/// What a client sends to book, or to replace a booking.
#[derive(Clone, Debug, ToSchema)]
pub(crate) struct NewBooking {
    /// What is booked.
    #[schema(value_type = Text)]
    pub(crate) service_id: String,
    /// For whom it is booked.
    #[schema(value_type = Text)]
    pub(crate) customer_name: String,
    /// The day of the appointment.
    pub(crate) date: NaiveDate,
    /// The hour and minute of the appointment.
    #[schema(value_type = TimeOfDay)]
    pub(crate) time: NaiveTime,
}

/// What a client sends to change a booking: only the members to change.
#[derive(Clone, Debug, ToSchema)]
#[schema(min_properties = 1)]
pub(crate) struct Change {
    /// What is booked.
    #[schema(value_type = Text, required = false)]
    pub(crate) service_id: Option<String>,
    /// For whom it is booked.
    #[schema(value_type = Text, required = false)]
    pub(crate) customer_name: Option<String>,
    /// The day of the appointment.
    #[schema(nullable = false)]
    pub(crate) date: Option<NaiveDate>,
    /// The hour and minute of the appointment.
    #[schema(value_type = TimeOfDay, required = false)]
    pub(crate) time: Option<NaiveTime>,
    /// `cancelled` keeps the booking but cancels the appointment.
    #[schema(nullable = false)]
    pub(crate) status: Option<Status>,
}

impl Booking {
    /// Sets every member that the change has.
    pub(crate) fn apply(&mut self, change: Change) {
        let Change {
            service_id,
            customer_name,
            date,
            time,
            status,
        } = change;
        set(&mut self.service_id, service_id);
        set(&mut self.customer_name, customer_name);
        set(&mut self.date, date);
        set(&mut self.time, time);
        set(&mut self.status, status);
    }
}

impl Whose {
    /// The owner that a booking must have, if it must have one.
    pub(crate) fn owner(&self) -> Option<&str> {
        match self {
            Self::Everyones => None,
            Self::Of(owner) => Some(owner),
        }
    }

    /// Whether this booking is among them.
    pub(crate) fn has(&self, booking: &Booking) -> bool {
        let owner = self.owner();
        owner.is_none() || owner == booking.owner.as_deref()
    }
}

impl NewBooking {
    /// Confirms it now, under a new id. Ids of version 7 begin with the time, so they sort by creation.
    pub(crate) fn confirmed(self, owner: Option<Arc<str>>) -> Booking {
        let new = self;
        Booking {
            id: Uuid::now_v7(),
            owner,
            service_id: new.service_id,
            customer_name: new.customer_name,
            date: new.date,
            time: new.time,
            status: Status::Confirmed,
            created_at: Utc::now().trunc_subsecs(3),
        }
    }
}

impl From<NewBooking> for Change {
    fn from(new: NewBooking) -> Self {
        Self {
            service_id: Some(new.service_id),
            customer_name: Some(new.customer_name),
            date: Some(new.date),
            time: Some(new.time),
            status: None,
        }
    }
}

impl Status {
    /// The status of this name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [Self::Confirmed, Self::Cancelled]
            .into_iter()
            .find(|status| status.name() == name)
    }

    /// As databases store it, and responses show it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Cancelled => "cancelled",
        }
    }
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

fn hours_and_minutes<S: Serializer>(time: &NaiveTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&time.format("%H:%M"))
}

fn milliseconds<S: Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&time.to_rfc3339_opts(SecondsFormat::Millis, true))
}
