//! Bars as SVG, for a light and a dark page.

use std::fmt::Write;

use crate::slices::KINDS;

/// A server's bars, one for each kind of request.
pub(crate) struct Bars {
    pub(crate) name: &'static str,
    pub(crate) values: [f64; 3],
}

const COLOURS: [&str; 3] = ["#8c8c8c", "#2f6fb0", "#d08770"];
const WIDTH: f64 = 760.0;
const LEFT: f64 = 190.0;
const RIGHT: f64 = 60.0;
const TOP: f64 = 64.0;
const BAR: f64 = 14.0;
const GROUP: f64 = 3.0 * BAR + 14.0;
/// What is longer is cut, and its value tells.
const LONGEST: f64 = 8.0;

pub(crate) fn svg(title: &str, servers: &[Bars]) -> String {
    let height = TOP + GROUP * count(servers.len()) + 12.0;
    let values = servers.iter().flat_map(|server| server.values);
    let longest = values.fold(1.0_f64, f64::max).min(LONGEST);
    let unit = (WIDTH - LEFT - RIGHT) / longest;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <style>text {{ fill: #222 }} line {{ stroke: #222 }} @media (prefers-color-scheme: dark) {{ text {{ fill: #ddd }} line {{ stroke: #ddd }} }}</style>\n\
         <text x=\"12\" y=\"22\" font-size=\"15\">{title}</text>\n"
    );
    for (index, kind) in KINDS.iter().enumerate() {
        let x = LEFT + 150.0 * count(index);
        let _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"36\" width=\"11\" height=\"11\" fill=\"{}\"/><text x=\"{}\" y=\"46\">{kind}</text>",
            COLOURS[index],
            x + 16.0
        );
    }
    for (index, server) in servers.iter().enumerate() {
        let top = TOP + GROUP * count(index);
        let middle = top + 1.5 * BAR + 4.0;
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{middle}\" text-anchor=\"end\">{}</text>",
            LEFT - 10.0,
            server.name
        );
        for (index, value) in server.values.iter().enumerate() {
            let (y, width) = (top + BAR * count(index), value.min(longest) * unit);
            let _ = writeln!(
                svg,
                "<rect x=\"{LEFT}\" y=\"{y}\" width=\"{width:.1}\" height=\"{}\" fill=\"{}\"/><text x=\"{:.1}\" y=\"{}\" font-size=\"11\">{value:.2}</text>",
                BAR - 2.0,
                COLOURS[index],
                LEFT + width + 5.0,
                y + BAR - 4.0
            );
        }
    }
    // What the framework alone would have.
    let x = LEFT + unit;
    let _ = writeln!(
        svg,
        "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{}\" y2=\"{}\" stroke-dasharray=\"3 3\"/>\n</svg>",
        TOP - 6.0,
        height - 12.0
    );
    svg
}

/// A small number of things, as a coordinate.
fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).expect("a small number"))
}
