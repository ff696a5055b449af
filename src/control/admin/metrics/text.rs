//! The two text formats: that of Prometheus (version 0.0.4), and OpenMetrics 1.0 for who asks for it.
//!
//! They differ in what is said of a family: in OpenMetrics a counter is called by its name without `_total`, there are
//! units, and the last line is `# EOF`. The series are the same, so that it does not matter to a query which format was
//! scraped.

use std::borrow::Cow;
use std::fmt::{Display, Formatter, Write};

use crate::observe::histogram::Counted;

/// How the text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::control::admin) enum Format {
    /// Of Prometheus.
    Classic,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// Its media type.
    pub(in crate::control::admin) const fn kind(self) -> &'static str {
        match self {
            Format::Classic => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// The one that an Accept field (RFC 9110 section 12.5.1) prefers: OpenMetrics only where it is named, in a version
    /// that we have, and not liked less than plain text.
    pub(super) fn of(accept: &str) -> Format {
        let (mut open, mut plain) = (0, 0);
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default();
            let (mut quality, mut version) = (1000, None);
            for (name, value) in parts.filter_map(|part| part.split_once('=')) {
                let value = value.trim().trim_matches('"');
                match name.trim() {
                    name if name.eq_ignore_ascii_case("q") => quality = thousandths(value),
                    name if name.eq_ignore_ascii_case("version") => version = Some(value),
                    _ => {}
                }
            }
            if kind.eq_ignore_ascii_case("application/openmetrics-text") && matches!(version, None | Some("1.0.0")) {
                open = open.max(quality);
            } else if kind.eq_ignore_ascii_case("text/plain") {
                plain = plain.max(quality);
            }
        }
        if open > 0 && open >= plain { Format::OpenMetrics } else { Format::Classic }
    }
}

/// A quality value; zero for what is none.
fn thousandths(value: &str) -> u32 {
    let quality = value.parse::<f64>().ok().filter(|quality| (0.0..=1.0).contains(quality));
    quality.map_or(0, |quality| (quality * 1000.0) as u32)
}

/// What the series of a family are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
    /// Always 1: the labels say it all. Its name ends in `_info`.
    Info,
}

/// Nanoseconds, as seconds.
pub(super) struct Seconds(pub(super) u64);

impl Display for Seconds {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let (whole, rest) = (self.0 / 1_000_000_000, self.0 % 1_000_000_000);
        let digits = format!("{rest:09}");
        let digits = digits.trim_end_matches('0');
        write!(f, "{whole}.{}", if digits.is_empty() { "0" } else { digits })
    }
}

/// The text while it grows.
pub(super) struct Text {
    text: String,
    format: Format,
}

impl Text {
    pub(super) fn new(format: Format) -> Text {
        Text { text: String::new(), format }
    }

    /// Begins a family of series.
    pub(super) fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let (family, word) = match (self.format, kind) {
            (Format::OpenMetrics, Kind::Counter) => (name.trim_end_matches("_total"), "counter"),
            (Format::OpenMetrics, Kind::Info) => (name.trim_end_matches("_info"), "info"),
            (Format::Classic, Kind::Counter) => (name, "counter"),
            (_, Kind::Histogram) => (name, "histogram"),
            (_, Kind::Gauge) | (Format::Classic, Kind::Info) => (name, "gauge"),
        };
        self.line(format_args!("# HELP {family} {help}\n# TYPE {family} {word}"));
        let unit = ["seconds", "bytes", "ratio"]
            .into_iter()
            .find(|unit| family.strip_suffix(unit).is_some_and(|rest| rest.ends_with('_')));
        if let (Format::OpenMetrics, Some(unit)) = (self.format, unit) {
            self.line(format_args!("# UNIT {family} {unit}"));
        }
    }

    /// One series.
    pub(super) fn series(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.text.push_str(name);
        for (at, (label, value)) in labels.iter().enumerate() {
            self.text.push(if at == 0 { '{' } else { ',' });
            self.text.push_str(label);
            self.text.push_str("=\"");
            self.text.push_str(&escape(value));
            self.text.push('"');
        }
        let close = if labels.is_empty() { "" } else { "}" };
        self.line(format_args!("{close} {value}"));
    }

    /// The series of a histogram with these upper bounds, in seconds.
    pub(super) fn histogram<const N: usize>(
        &mut self,
        name: &str,
        (label, of): (&str, &str),
        bounds: &[String],
        counted: &Counted<N>,
    ) {
        let of = escape(of);
        let mut below = 0;
        for (bound, count) in bounds.iter().zip(&counted.counts) {
            below += count;
            self.line(format_args!("{name}_bucket{{{label}=\"{of}\",le=\"{bound}\"}} {below}"));
        }
        let all = counted.count();
        self.line(format_args!("{name}_bucket{{{label}=\"{of}\",le=\"+Inf\"}} {all}"));
        self.line(format_args!("{name}_sum{{{label}=\"{of}\"}} {}", Seconds(counted.sum)));
        self.line(format_args!("{name}_count{{{label}=\"{of}\"}} {all}"));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = self.text.write_fmt(line);
        self.text.push('\n');
    }

    /// The whole text.
    pub(super) fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}

/// A value of a label, with what would end it escaped.
fn escape(value: &str) -> Cow<'_, str> {
    if value.contains(['\\', '"', '\n']) {
        value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").into()
    } else {
        value.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openmetrics_is_for_who_asks_for_it() {
        let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
            text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        for accept in [
            prometheus,
            "application/openmetrics-text",
            "Application/OpenMetrics-Text; Version=\"1.0.0\"; q=0.5, text/plain;q=0.5",
        ] {
            assert_eq!(Format::of(accept), Format::OpenMetrics, "{accept}");
        }
        for accept in [
            "",
            "*/*",
            "text/plain",
            "application/openmetrics-text; version=0.0.1",
            "application/openmetrics-text; version=2.0.0, text/plain",
            "application/openmetrics-text; q=0",
            "application/openmetrics-text; q=x",
            "application/openmetrics-text;q=0.4, text/plain;q=0.5",
        ] {
            assert_eq!(Format::of(accept), Format::Classic, "{accept}");
        }
    }

    fn sample(format: Format) -> String {
        let mut text = Text::new(format);
        text.family("a_bytes_total", Kind::Counter, "Bytes.");
        text.series("a_bytes_total", &[("of", "x\"\\\n"), ("to", "y")], 7);
        text.family("b_info", Kind::Info, "What.");
        text.series("b_info", &[], 1);
        text.family("c_seconds", Kind::Histogram, "Times.");
        let counted = Counted { counts: [1, 0, 2], sum: 2_000_500_000 };
        text.histogram("c_seconds", ("of", "x"), &["0.001".into(), "1.0".into()], &counted);
        text.finish()
    }

    const HISTOGRAM: &str = "c_seconds_bucket{of=\"x\",le=\"0.001\"} 1\nc_seconds_bucket{of=\"x\",le=\"1.0\"} 1\n\
        c_seconds_bucket{of=\"x\",le=\"+Inf\"} 3\nc_seconds_sum{of=\"x\"} 2.0005\nc_seconds_count{of=\"x\"} 3\n";

    #[test]
    fn seconds_are_decimals() {
        for (nanos, text) in [(0, "0.0"), (10_000, "0.00001"), (60_000_000_000, "60.0"), (1_000_000_001, "1.000000001")]
        {
            assert_eq!(Seconds(nanos).to_string(), text);
        }
    }

    #[test]
    fn the_text_of_prometheus() {
        let expected = format!(
            "# HELP a_bytes_total Bytes.\n# TYPE a_bytes_total counter\na_bytes_total{{of=\"x\\\"\\\\\\n\",to=\"y\"}} 7\n\
             # HELP b_info What.\n# TYPE b_info gauge\nb_info 1\n\
             # HELP c_seconds Times.\n# TYPE c_seconds histogram\n{HISTOGRAM}"
        );
        assert_eq!(sample(Format::Classic), expected);
    }

    #[test]
    fn the_text_of_openmetrics() {
        let expected = format!(
            "# HELP a_bytes Bytes.\n# TYPE a_bytes counter\n# UNIT a_bytes bytes\n\
             a_bytes_total{{of=\"x\\\"\\\\\\n\",to=\"y\"}} 7\n# HELP b What.\n# TYPE b info\nb_info 1\n\
             # HELP c_seconds Times.\n# TYPE c_seconds histogram\n# UNIT c_seconds seconds\n{HISTOGRAM}# EOF\n"
        );
        assert_eq!(sample(Format::OpenMetrics), expected);
    }
}
