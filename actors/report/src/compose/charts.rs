//! The charts, drawn as SVG inside the page. They take their colours from the page, and have names for
//! assistive technology.

use chrono::{NaiveDate, Weekday};
use plotters::coord::Shift;
use plotters::prelude::{DrawingArea, IntoDrawingArea, PathElement, RGBColor, Rectangle, SVGBackend, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, IntoTextStyle, TextStyle};
use serde::Serialize;

use super::words::{count, number, one_line, shorten};
use crate::{Error, History, Inputs};

/// The page's style sheet replaces these three colours by its own, light or dark.
const BAR: RGBColor = RGBColor(0x2f, 0x6f, 0xd0);
const INK: RGBColor = RGBColor(0x33, 0x33, 0x33);
const GRID: RGBColor = RGBColor(0xd8, 0xdc, 0xe2);

const WIDTH: i32 = 760;
/// Room for labels left of horizontal bars, and for numbers right of them.
const LABELS: i32 = 230;
const NUMBERS: i32 = 90;
const ROW: i32 = 26;

/// Bars side by side are told apart down to about six pixels.
const COLUMNS_MAX: i64 = 110;

/// Bars in a chart; further rows are in the table below it.
const ROWS_MAX: usize = 10;

/// Characters of a label that fit into its room.
const LABEL_CHARS: usize = 32;

/// The text size given to plotters, which draws it a fifth smaller.
const FONT: i32 = 16;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Painted = Result<(), Box<dyn std::error::Error + Send + Sync>>;

#[derive(Serialize)]
pub(super) struct Charts {
    activity: String,
    languages: String,
    contributors: String,
    churn: String,
}

/// Draws all charts of a report.
pub(super) fn charts(inputs: &Inputs) -> Result<Charts, Error> {
    let languages =
        inputs.inventory.languages.iter().map(|row| (row.language.as_str(), row.tally.lines.total));
    let contributors = inputs.history.contributors.iter().map(|one| (one.name.as_str(), one.commits));
    let churn = inputs.history.churn.iter().map(|file| (file.path.as_str(), file.commits));
    Ok(Charts {
        activity: activity(&inputs.history)?,
        languages: rows("languages", "Lines by language", languages.collect())?,
        contributors: rows("contributors", "Commits by contributor", contributors.collect())?,
        churn: rows("churn", "Commits by file, most often changed", churn.collect())?,
    })
}

/// Horizontal bars, longest first as given.
fn rows(id: &str, title: &str, mut data: Vec<(&str, u64)>) -> Result<String, Error> {
    data.truncate(ROWS_MAX);
    let most = data.iter().map(|(_, value)| *value).max().unwrap_or(0).max(1);
    let height = ROW * data.len().max(1) as i32 + 8;
    let room = f64::from(WIDTH - LABELS - NUMBERS);
    let svg = draw(height, |area| {
        for (index, (label, value)) in data.iter().enumerate() {
            let top = 4 + ROW * index as i32;
            let middle = top + ROW / 2;
            let end = LABELS + (*value as f64 / most as f64 * room).round().max(1.0) as i32;
            let label = shorten(&one_line(label), LABEL_CHARS);
            area.draw(&Text::new(label, (LABELS - 10, middle), style(HPos::Right)))?;
            area.draw(&Rectangle::new([(LABELS, top + 4), (end, top + ROW - 4)], BAR.filled()))?;
            area.draw(&Text::new(number(*value), (end + 8, middle), style(HPos::Left)))?;
        }
        Ok(())
    })?;
    let described = data.iter().map(|(label, value)| format!("{}: {}", one_line(label), number(*value)));
    let described: Vec<_> = described.collect();
    Ok(named(&svg, id, title, &described.join("; ")))
}

/// Commits over time; in a long history several weeks share a column.
fn activity(history: &History) -> Result<String, Error> {
    let weeks: Vec<(NaiveDate, u64)> =
        history.weeks.iter().filter_map(|week| Some((monday(&week.week)?, week.commits))).collect();
    if weeks.is_empty() {
        let svg = draw(ROW, |_| Ok(()))?;
        return Ok(named(&svg, "activity", "Commits by week", "No commit has a credible date"));
    }
    let first = weeks.iter().map(|(day, _)| *day).min().unwrap_or_default();
    let last = weeks.iter().map(|(day, _)| *day).max().unwrap_or_default();
    let span = (last - first).num_weeks() + 1;
    let per_column = (span + COLUMNS_MAX - 1) / COLUMNS_MAX;
    let mut columns = vec![0_u64; ((span + per_column - 1) / per_column) as usize];
    for (day, commits) in weeks {
        if let Some(column) = columns.get_mut(((day - first).num_weeks() / per_column) as usize) {
            *column += commits;
        }
    }
    let svg = draw(220, |area| columns_chart(area, &columns, first, last))?;
    let title = match per_column {
        1 => "Commits by week".to_owned(),
        weeks => format!("Commits over time, {weeks} weeks to a bar"),
    };
    let most = columns.iter().copied().max().unwrap_or(0);
    let described = format!(
        "{} from the week of {first} to the week of {last}; at most {} in one bar",
        count(history.commits - history.misdated.min(history.commits), "commit", "commits"),
        number(most)
    );
    Ok(named(&svg, "activity", &title, &described))
}

fn columns_chart(area: &Area<'_>, columns: &[u64], first: NaiveDate, last: NaiveDate) -> Painted {
    let (left, right, top, bottom) = (60, WIDTH - 10, 14, 186);
    let most = columns.iter().copied().max().unwrap_or(0).max(1);
    let marks = if most == 1 { vec![0, 1] } else { vec![0, most / 2, most] };
    for mark in marks {
        let y = bottom - (mark as f64 / most as f64 * f64::from(bottom - top)).round() as i32;
        area.draw(&PathElement::new([(left, y), (right, y)], GRID))?;
        area.draw(&Text::new(number(mark), (left - 8, y), style(HPos::Right)))?;
    }
    // A young project would otherwise get a single bar as wide as the page.
    let width = (f64::from(right - left) / columns.len().max(1) as f64).min(28.0);
    for (index, value) in columns.iter().enumerate().filter(|(_, value)| **value > 0) {
        let x = f64::from(left) + width * index as f64;
        let height = (*value as f64 / most as f64 * f64::from(bottom - top)).round().max(1.0) as i32;
        let end = (x + (width - 1.5).max(1.0)).round() as i32;
        area.draw(&Rectangle::new([(x.round() as i32, bottom - height), (end, bottom)], BAR.filled()))?;
    }
    area.draw(&Text::new(first.to_string(), (left, bottom + 18), style(HPos::Left)))?;
    let end = left + (width * columns.len() as f64).round() as i32;
    if first != last && end - left > 180 {
        area.draw(&Text::new(last.to_string(), (end, bottom + 18), style(HPos::Right)))?;
    }
    Ok(())
}

/// The first day of an ISO week such as `2024-W07`.
pub(super) fn monday(week: &str) -> Option<NaiveDate> {
    let (year, week) = week.split_once("-W")?;
    NaiveDate::from_isoywd_opt(year.parse().ok()?, week.parse().ok()?, Weekday::Mon)
}

fn style(align: HPos) -> TextStyle<'static> {
    ("sans-serif", FONT).into_text_style(&(WIDTH as u32, 1)).color(&INK).pos(Pos::new(align, VPos::Center))
}

fn draw(height: i32, paint: impl FnOnce(&Area<'_>) -> Painted) -> Result<String, Error> {
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, (WIDTH as u32, height as u32)).into_drawing_area();
    let painted = paint(&area).and_then(|()| area.present().map_err(Into::into));
    drop(area);
    painted.map_err(|source| Error::Render { what: "charts", source })?;
    Ok(svg)
}

/// Adds the name and the description that assistive technology reads.
fn named(svg: &str, id: &str, title: &str, description: &str) -> String {
    let svg = svg.replacen(" xmlns=\"http://www.w3.org/2000/svg\"", "", 1);
    let tag = format!("<svg role=\"img\" aria-labelledby=\"{id}-title {id}-description\" ");
    let names = format!(
        ">\n<title id=\"{id}-title\">{}</title>\n<desc id=\"{id}-description\">{}</desc>",
        escape(title),
        escape(description)
    );
    svg.replacen("<svg ", &tag, 1).replacen('>', &names, 1)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
