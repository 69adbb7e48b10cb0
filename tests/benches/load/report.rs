//! Numbers as lines of a table.

use std::time::Duration;

pub(crate) fn title(text: &str) {
    println!("\n{text}");
}

/// The median, the least and the greatest of the rounds' values.
pub(crate) fn line(name: &str, mut values: Vec<f64>, unit: &str) {
    values.sort_by(f64::total_cmp);
    let (least, most) = (values[0], values[values.len() - 1]);
    let median = median(&values);
    println!("  {name:<54} {median:>9.2}{unit:<3}   ({least:.2} to {most:.2})");
}

/// One pair of values for each round, as the ratio of the first to the second.
pub(crate) fn ratios(name: &str, above: &[f64], below: &[f64]) {
    line(
        name,
        above.iter().zip(below).map(|(a, b)| a / b).collect(),
        "",
    );
}

pub(crate) fn milliseconds(duration: Duration) -> f64 {
    1e3 * duration.as_secs_f64()
}

pub(crate) fn microseconds(duration: Duration) -> f64 {
    1e6 * duration.as_secs_f64()
}

fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    match sorted.len() % 2 {
        0 => f64::midpoint(sorted[middle - 1], sorted[middle]),
        _ => sorted[middle],
    }
}
