//! The text index: which sections contain which words, in memory and gone with the value.

use std::collections::BTreeMap;

use tantivy::collector::TopDocs;
use tantivy::merge_policy::NoMergePolicy;
use tantivy::query::{BooleanQuery, BoostQuery, Occur, Query, TermQuery};
use tantivy::schema::{Field, INDEXED, IndexRecordOption, STORED, Schema, TEXT, Value};
use tantivy::{IndexWriter, Searcher, TantivyDocument, TantivyError, Term};

use super::{Indexed, stems};
use crate::{Error, Watch};

/// The least memory that the index's writer accepts, and enough: it only decides how often segments are cut.
const WRITER_BYTES: usize = 15_000_000;

/// The weight of a word in a heading, which says what the section is about; one in the text may be
/// accidental.
const HEADING_BOOST: f32 = 3.0;

/// Candidates considered for one question; all others match worse.
const CANDIDATES: usize = 500;

pub(super) struct Index {
    searcher: Searcher,
    number: Field,
    heading: Field,
    body: Field,
}

impl Index {
    pub(super) fn build(sections: &[Indexed], watch: &Watch) -> Result<Self, Error> {
        let mut schema = Schema::builder();
        let number = schema.add_u64_field("number", INDEXED | STORED);
        let heading = schema.add_text_field("heading", TEXT);
        let body = schema.add_text_field("body", TEXT);
        let index = tantivy::Index::create_in_ram(schema.build());
        // One thread and no merges, so that equal input gives equal scores.
        let mut writer: IndexWriter = index.writer_with_num_threads(1, WRITER_BYTES).map_err(failed)?;
        writer.set_merge_policy(Box::new(NoMergePolicy));
        for (position, section) in sections.iter().enumerate() {
            watch.check()?;
            let mut document = TantivyDocument::default();
            document.add_u64(number, position as u64);
            let [of_heading, of_body] = [&section.section.heading, &section.body]
                .map(|text| stems::of(text).collect::<Vec<_>>().join(" "));
            document.add_text(heading, of_heading);
            document.add_text(body, of_body);
            writer.add_document(document).map_err(failed)?;
        }
        writer.commit().map_err(failed)?;
        writer.wait_merging_threads().map_err(failed)?;
        let searcher = index.reader().map_err(failed)?.searcher();
        Ok(Self { searcher, number, heading, body })
    }

    /// The sections that contain any of the stems `words`, with a score each, in order of section.
    pub(super) fn search(&self, words: &[&str]) -> Result<BTreeMap<usize, f32>, Error> {
        let mut clauses: Vec<(Occur, Box<dyn Query>)> = Vec::new();
        for word in words {
            for (field, boost) in [(self.heading, HEADING_BOOST), (self.body, 1.0)] {
                let query = TermQuery::new(Term::from_field_text(field, word), IndexRecordOption::WithFreqs);
                clauses.push((Occur::Should, Box::new(BoostQuery::new(Box::new(query), boost))));
            }
        }
        let collector = TopDocs::with_limit(CANDIDATES).order_by_score();
        let found = self.searcher.search(&BooleanQuery::new(clauses), &collector).map_err(failed)?;
        let mut scores = BTreeMap::new();
        for (score, address) in found {
            let document: TantivyDocument = self.searcher.doc(address).map_err(failed)?;
            if let Some(position) = document.get_first(self.number).and_then(|value| value.as_u64()) {
                scores.insert(position as usize, score);
            }
        }
        Ok(scores)
    }
}

fn failed(source: TantivyError) -> Error {
    Error::Index { source: Box::new(source) }
}
