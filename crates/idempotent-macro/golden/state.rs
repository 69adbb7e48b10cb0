#[allow(non_upper_case_globals, clippy::type_complexity)]
const create_booking: ::idempotency::Idempotent<
    fn(State<App>) -> ::idempotency::__private::BoxFuture<'static, StatusCode>,
    ::idempotency::__private::Unproved,
    ::idempotency::__private::InState,
> = {
    async fn create_booking(State(app): State<App>) -> StatusCode {
        app.book().await
    }
    ::idempotency::__private::protected(
        ::idempotency::Options::new(),
        |argument_0| ::idempotency::__private::run(create_booking(argument_0)),
    )
};
