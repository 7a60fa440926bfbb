//! Charts as SVG, drawn here: no script, no style of their own. Their numbers also stand in a table.

use std::fmt::Write as _;

use admin::{Bar, Layer, Overview, Range};
use maud::{Markup, html};

use super::{axis, chevron, label, layer_words, word};
use crate::pages::ui::{milliseconds, number};

/// Width and height of the drawing; it is stretched to its place.
const WIDE: f64 = 600.0;
const HIGH: f64 = 100.0;

fn class(layer: Layer) -> &'static str {
    match layer {
        Layer::Forwarded => "s-fwd",
        Layer::Approved => "s-appr",
        Layer::Held => "s-held",
        Layer::Refused => "s-ref",
        Layer::Limited => "s-lim",
        Layer::Failed => "s-fail",
    }
}

/// Calls, stacked by decision.
pub(super) fn calls(overview: &Overview) -> Markup {
    let most = overview.bars.iter().map(Bar::total).max().unwrap_or(0);
    let top = ceiling(most);
    let per = match overview.range {
        Range::Hour => "minute",
        Range::Day => "15 minutes",
        Range::Week => "2 hours",
    };
    let range = word(overview.range);
    let spoken = Layer::ALL
        .into_iter()
        .zip(overview.calls)
        .map(|(layer, calls)| format!("{} {}", number(calls), layer_words(layer).1.to_lowercase()))
        .collect::<Vec<_>>()
        .join(", ");
    html! {
        section.panel aria-labelledby="cpm" {
            header { h2 id="cpm" { "Calls per " (per) ", by decision" } p { (ends(overview)) } }
            figure.chart {
                div.y { @for quarter in (0..=4).rev() { span { (number(top * quarter / 4)) } } }
                svg viewBox="0 0 600 100" preserveAspectRatio="none" role="img" aria-label={ "Stacked bars: " (spoken) "." } {
                    path.gl d="M0 .5H600M0 25H600M0 50H600M0 75H600M0 99.5H600" {}
                    defs {
                        pattern id="hatch" width="4" height="4" patternUnits="userSpaceOnUse" patternTransform="rotate(45)" {
                            rect.s-lim width="4" height="4" {}
                            path.hatch d="M0 0V4" {}
                        }
                    }
                    @for (layer, path) in stacked(&overview.bars, top) {
                        // A class would win over the pattern.
                        @if layer == Layer::Limited { path fill="url(#hatch)" d=(path) {} }
                        @else { path class=(class(layer)) d=(path) {} }
                    }
                }
                (axis_labels(overview, 5))
            }
            p.legend {
                @for (layer, calls) in Layer::ALL.into_iter().zip(overview.calls) {
                    @let (filter, name) = layer_words(layer);
                    a href={ "/calls?time=" (range) "&decision=" (filter) } {
                        svg viewBox="0 0 10 10" aria-hidden="true" { rect class=(class(layer)) width="10" height="10" rx="2" {} }
                        (name) " " b { (number(calls)) }
                    }
                }
            }
            details.foot {
                (chevron("Show as a table"))
                div.scroll tabindex="0" role="region" aria-label="Calls by decision, as a table" {
                    table {
                        thead { tr { th { "From, UTC" } @for layer in Layer::ALL { th.num { (layer_words(layer).1) } } } }
                        tbody {
                            @for bars in overview.bars.chunks(overview.range.bars().div_ceil(12)) {
                                tr {
                                    th scope="row" { @if let Some(first) = bars.first() { (axis(first.start, overview.range)) } }
                                    @for sum in sums(bars) { td.num { (number(sum)) } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// How long answers took.
pub(super) fn times(overview: &Overview) -> Markup {
    let most = overview.bars.iter().filter_map(|bar| bar.times).map(|(_, most)| most).fold(0.0, f64::max);
    let top = nice(most);
    let half = line(&overview.bars, top, |(half, _)| half);
    let ninety_nine = line(&overview.bars, top, |(_, most)| most);
    html! {
        section.panel aria-labelledby="lat" {
            header { h2 id="lat" { "Answer time, with the upstream" } p { "ms" } }
            @match overview.times {
                None => { ul.list { li { span.muted { "Nothing was answered in this time" } } } }
                Some((p50, p99)) => {
                    figure.chart.low {
                        div.y { span { (milliseconds(top)) } span { (milliseconds(top / 2.0)) } span { "0" } }
                        svg viewBox="0 0 600 100" preserveAspectRatio="none" role="img" aria-label={ "Half of the answers within " (milliseconds(p50)) " ms, 99 of 100 within " (milliseconds(p99)) " ms." } {
                            path.gl d="M0 .5H600M0 50H600M0 99.5H600" {}
                            path.ln.p99 d=(ninety_nine) {}
                            path.ln d=(half) {}
                        }
                        (axis_labels(overview, 3))
                    }
                    p.legend { span { b { "p50" } " solid, " (milliseconds(p50)) } span { b { "p99" } " dashed, " (milliseconds(p99)) } }
                }
            }
        }
    }
}

/// One path for each layer that has calls, each bar standing on those below it.
fn stacked(bars: &[Bar], top: u64) -> Vec<(Layer, String)> {
    let (step, scale) = (WIDE / bars.len().max(1) as f64, HIGH / top.max(1) as f64);
    let mut paths = Vec::new();
    for (place, layer) in Layer::ALL.into_iter().enumerate() {
        let mut path = String::new();
        for (bar, x) in bars.iter().zip((0..).map(|place| f64::from(place) * step)) {
            let below: u64 = bar.calls.iter().take(place).sum();
            let Some(calls) = bar.calls.get(place).copied().filter(|calls| *calls > 0) else { continue };
            let (high, y) = (calls as f64 * scale, HIGH - (below + calls) as f64 * scale);
            let wide = step * 0.8;
            // Writing to a `String` cannot fail.
            let _ = write!(path, "M{:.1} {y:.1}h{wide:.1}v{high:.1}h-{wide:.1}z", x + step * 0.1);
        }
        if !path.is_empty() {
            paths.push((layer, path));
        }
    }
    paths
}

/// A line through the bars that have times; it breaks where nothing was answered.
fn line(bars: &[Bar], top: f64, pick: impl Fn((f64, f64)) -> f64) -> String {
    let step = WIDE / bars.len().max(1) as f64;
    let (mut path, mut drawing) = (String::new(), false);
    for (bar, x) in bars.iter().zip((0..).map(|place| (f64::from(place) + 0.5) * step)) {
        let Some(ms) = bar.times.map(&pick) else {
            drawing = false;
            continue;
        };
        let y = HIGH - ms / top * HIGH;
        let _ = match drawing {
            true => write!(path, " {x:.1} {y:.1}"),
            // A dot where the neighbours have no times.
            false => write!(path, "M{:.1} {y:.1}h4L{x:.1} {y:.1}", x - 2.0),
        };
        drawing = true;
    }
    path
}

fn sums(bars: &[Bar]) -> [u64; 6] {
    let mut sums = [0; 6];
    for bar in bars {
        for (sum, calls) in sums.iter_mut().zip(bar.calls) {
            *sum += calls;
        }
    }
    sums
}

fn ends(overview: &Overview) -> String {
    let start = |bar: Option<&Bar>| bar.map(|bar| axis(bar.start, overview.range)).unwrap_or_default();
    format!("{} to {} UTC", start(overview.bars.first()), start(overview.bars.last()))
}

fn axis_labels(overview: &Overview, labels: usize) -> Markup {
    let last = overview.bars.len().saturating_sub(1);
    let places = (0..labels).map(|label| last * label / labels.saturating_sub(1).max(1));
    html! {
        div.x { @for place in places { span { @if let Some(bar) = overview.bars.get(place) { (label(bar.start, overview.range)) } } } }
    }
}

/// The end of the axis: a number that divides by four, not far above the highest bar.
fn ceiling(most: u64) -> u64 {
    let mut unit = 1u64;
    loop {
        for step in [4, 8, 12, 16, 20, 24, 32] {
            let top = unit.saturating_mul(step);
            if top >= most {
                return top;
            }
        }
        unit = unit.saturating_mul(10);
        if unit == u64::MAX {
            return most;
        }
    }
}

/// The end of an axis of milliseconds.
fn nice(most: f64) -> f64 {
    let mut unit = 0.01;
    while unit < 1e7 {
        for step in [1.0, 2.0, 5.0] {
            if unit * step >= most {
                return unit * step;
            }
        }
        unit *= 10.0;
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_stand_on_those_below_them_and_stay_in_the_drawing() {
        let bar = |calls| Bar { calls, ..Bar::default() };
        let bars = [bar([3, 0, 0, 1, 0, 0]), bar([0; 6])];
        let paths = stacked(&bars, 4);
        assert_eq!(
            paths,
            [
                (Layer::Forwarded, "M30.0 25.0h240.0v75.0h-240.0z".to_owned()),
                (Layer::Refused, "M30.0 0.0h240.0v25.0h-240.0z".to_owned()),
            ]
        );
    }

    #[test]
    fn axes_end_a_little_above_the_highest() {
        for (most, top) in [(0, 4), (3, 4), (5, 8), (33, 40), (117, 120), (1_000, 1_200)] {
            assert_eq!(ceiling(most), top, "{most}");
        }
        assert!((nice(4.2) - 5.0).abs() < 1e-9 && (nice(0.0) - 0.01).abs() < 1e-9);
    }

    #[test]
    fn a_line_breaks_where_nothing_was_answered() {
        let bar = |times| Bar { times, ..Bar::default() };
        let bars = [bar(Some((1.0, 2.0))), bar(None), bar(Some((2.0, 2.0))), bar(Some((1.0, 2.0)))];
        assert_eq!(
            line(&bars, 2.0, |(half, _)| half),
            "M73.0 50.0h4L75.0 50.0M373.0 0.0h4L375.0 0.0 525.0 50.0"
        );
    }
}
