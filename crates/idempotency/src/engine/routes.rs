//! The labels of routes: one text for all records of a route.

use std::collections::HashMap;

use parking_lot::RwLock;

use crate::labels::Labels;

/// Those that were made, by the template of the path, and then by the method.
#[derive(Default)]
pub(super) struct Routes(RwLock<HashMap<Box<str>, Methods>>);

/// Each with the labels of its route.
type Methods = Vec<(Box<str>, Labels)>;

/// How many paths, and how many methods of each, are remembered. Methods are the client's: a handler for any method may meet any number of
/// them.
const MAX_PATHS: usize = 1024;
const MAX_METHODS: usize = 16;

impl Routes {
    pub(super) fn labels(&self, method: &str, path: &str) -> Labels {
        let known = self.0.read().get(path).and_then(|known| {
            let known = known.iter().find(|(of, _)| **of == *method);
            known.map(|(_, labels)| labels.clone())
        });
        known.unwrap_or_else(|| self.make(method, path))
    }

    fn make(&self, method: &str, path: &str) -> Labels {
        let labels = Labels::new(Some(&format!("{method} {path}")), None);
        let mut known = self.0.write();
        if known.len() < MAX_PATHS || known.contains_key(path) {
            let known = known.entry(path.into()).or_default();
            if known.len() < MAX_METHODS && known.iter().all(|(of, _)| **of != *method) {
                known.push((method.into(), labels.clone()));
            }
        }
        labels
    }
}

#[cfg(test)]
mod tests {
    use super::{Labels, MAX_METHODS, MAX_PATHS, Routes};

    #[test]
    fn records_of_a_route_have_one_text() {
        let routes = Routes::default();
        let labels = [(); 2].map(|()| routes.labels("POST", "/bookings/{id}"));
        let [first, second] = labels.each_ref().map(Labels::route);
        assert_eq!(first, Some("POST /bookings/{id}"));
        assert!(
            first
                .zip(second)
                .is_some_and(|(first, second)| std::ptr::eq(first, second))
        );
        assert_eq!(
            routes.labels("PUT", "/bookings/{id}").route(),
            Some("PUT /bookings/{id}")
        );
    }

    #[test]
    fn methods_that_clients_make_up_fill_no_memory() {
        let routes = Routes::default();
        for number in 0..10 * MAX_PATHS {
            let made_up = format!("METHOD{number}");
            assert_eq!(
                routes.labels(&made_up, "/any").route(),
                Some(&*format!("{made_up} /any"))
            );
            routes.labels("POST", &format!("/{number}"));
        }
        let known = routes.0.read();
        assert_eq!(known.len(), MAX_PATHS);
        assert_eq!(known.get("/any").map(Vec::len), Some(MAX_METHODS));
    }
}
