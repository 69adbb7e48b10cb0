#[allow(non_upper_case_globals, clippy::type_complexity)]
const create_booking: ::idempotency::Idempotent<
    fn(State<App>) -> ::idempotency::__private1::BoxFuture<'static, StatusCode>,
    ::idempotency::__private1::Unproved,
    ::idempotency::__private1::InState,
> = {
    async fn create_booking(State(app): State<App>) -> StatusCode {
        app.book().await
    }
    ::idempotency::__private1::protected(
        ::idempotency::Options::new(),
        |argument_0| ::idempotency::__private1::run(create_booking(argument_0)),
    )
};
