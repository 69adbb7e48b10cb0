//! Golden files: `golden/*.rs` are whole expansions, for people to read. `UPDATE_GOLDEN=1 cargo test -p idempotent-macro`
//! writes them anew; review the difference.

use std::{env, fs, path::Path};

use proc_macro2::TokenStream;
use quote::quote;

use crate::expand::expand;

#[test]
fn a_handler_without_options_becomes_a_constant() {
    check(
        "plain",
        &quote!(),
        &quote! {
            async fn ping() {}
        },
    );
}

#[test]
fn every_option_becomes_a_call_and_every_attribute_has_its_place() {
    check(
        "options",
        &quote!(
            fingerprint = amount_only,
            scope = Tenants::of_request,
            keep = "all",
            on_lost = "refuse",
            on_duplicate = "wait",
            required,
            lease_seconds = 30,
            ttl_seconds = 3600,
        ),
        &quote! {
            /// Creates a booking.
            #[cfg(feature = "bookings")]
            #[deprecated]
            #[expect(clippy::unused_async)]
            #[tracing::instrument(skip_all)]
            #[must_use]
            pub(crate) async fn create_booking(
                State(db): State<Db>,
                Json(mut new): Json<NewBooking>,
            ) -> Result<(StatusCode, Json<Booking>), ApiError> {
                new.trim();
                db.insert(new).await
            }
        },
    );
}

#[test]
fn options_are_added_to_a_constant() {
    check(
        "base",
        &quote!(
            ttl_seconds = 86400,
            keep = "success",
            key = order_number,
            fingerprint = json_without!("sent_at"),
            options = webhooks::STRIPE,
        ),
        &quote! {
            async fn on_event(event: String) {}
        },
    );
}

#[test]
fn a_principal_is_taken_by_the_argument_of_its_type() {
    check(
        "principal",
        &quote!(principal = Claims<Admin>, required),
        &quote! {
            async fn transfer(
                State(db): State<Db>,
                Claims { subject, .. }: Claims<Admin>,
                Json(new): Json<Transfer>,
            ) -> StatusCode {
                db.transfer(subject, new).await
            }
        },
    );
}

#[test]
fn an_engine_in_the_state_is_in_the_constants_type() {
    check(
        "state",
        &quote!(engine = "state"),
        &quote! {
            async fn create_booking(State(app): State<App>) -> StatusCode {
                app.book().await
            }
        },
    );
}

#[test]
fn a_function_that_rebuilds_responses_takes_the_handlers_state() {
    check(
        "replay",
        &quote!(replay = tokens::show),
        &quote! {
            async fn create_token(State(db): State<Db>) -> (ReplayWith<u64>, String) {
                db.create().await
            }
        },
    );
    check(
        "replay_without_state",
        &quote!(replay = tokens::show),
        &quote! {
            async fn create_token() -> (ReplayWith<u64>, String) {
                mint()
            }
        },
    );
}

#[test]
fn a_function_whose_arguments_are_written_takes_the_principal_too() {
    check(
        "replay_listed",
        &quote!(
            replay = show(State<Db>, Claims, ReplayWith<u64>),
            principal = Claims,
            engine = "state"
        ),
        &quote! {
            async fn create_token(State(db): State<Db>, claims: Claims) -> (ReplayWith<u64>, String) {
                db.create(claims).await
            }
        },
    );
}

#[test]
fn an_answer_without_a_name_becomes_a_response() {
    check(
        "unnamed_answer",
        &quote!(transactional, ttl_seconds = 60),
        &quote! {
            pub async fn cancel_booking(Path(id): Path<Uuid>) -> Result<impl IntoResponse, ApiError> {
                Ok((StatusCode::NO_CONTENT, [("x-booking", id.to_string())]))
            }
        },
    );
}

#[test]
fn openapi_goes_first_because_it_writes_items_beside_the_function() {
    check(
        "openapi",
        &quote!(transactional, ttl_seconds = 60),
        &quote! {
            /// Creates a booking.
            #[axum::debug_handler]
            #[utoipa::path(post, path = "/bookings")]
            async fn create_booking() {}
        },
    );
}

#[test]
fn the_library_is_where_crate_says() {
    check(
        "library",
        &quote!(
            principal = Claims,
            keep = "all",
            on_lost = "refuse",
            on_duplicate = "wait",
            lease_seconds = 30,
            ttl_seconds = 3600,
            crate = crate::web::idempotency
        ),
        &quote! {
            async fn transfer(claims: Claims) -> impl IntoResponse {
                claims.subject
            }
        },
    );
    check(
        "openapi_library",
        &quote!(transactional, crate = ::web::idempotency),
        &quote! {
            #[utoipa::path(post, path = "/bookings")]
            async fn create_booking() {}
        },
    );
}

#[track_caller]
fn check(name: &str, arguments: &TokenStream, item: &TokenStream) {
    let expansion = syn::parse2(expand(arguments, item)).expect("an expansion is Rust");
    let expansion = prettyplease::unparse(&expansion);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("golden/{name}.rs"));
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &expansion).expect("golden files can be written");
    }
    let golden = fs::read_to_string(&path).expect("there is a golden file");
    // A checkout may have changed the line endings.
    assert_eq!(expansion, golden.replace("\r\n", "\n"), "golden/{name}.rs");
}
