/// Creates a booking.
#[cfg(feature = "bookings")]
#[deprecated]
#[expect(clippy::unused_async)]
#[allow(non_upper_case_globals, clippy::type_complexity)]
pub(crate) const create_booking: ::idempotency::Idempotent<
    fn(
        State<Db>,
        Json<NewBooking>,
    ) -> ::idempotency::__private1::BoxFuture<
        'static,
        Result<(StatusCode, Json<Booking>), ApiError>,
    >,
> = {
    #[tracing::instrument(skip_all)]
    #[must_use]
    async fn create_booking(
        State(db): State<Db>,
        Json(mut new): Json<NewBooking>,
    ) -> Result<(StatusCode, Json<Booking>), ApiError> {
        new.trim();
        db.insert(new).await
    }
    ::idempotency::__private1::protected(
        ::idempotency::Options::new()
            .ttl(::idempotency::__private1::Duration::from_secs(3600))
            .lease(::idempotency::__private1::Duration::from_secs(30))
            .required()
            .on_duplicate(::idempotency::OnDuplicate::Wait)
            .on_lost(::idempotency::OnLost::Refuse)
            .keep(::idempotency::options::Keep::All)
            .scope(Tenants::of_request)
            .fingerprint(amount_only),
        |argument_0, argument_1| ::idempotency::__private1::run(
            create_booking(argument_0, argument_1),
        ),
    )
};
