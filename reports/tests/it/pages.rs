//! What people read: Markdown as snapshots, HTML for what must and must not be in it.

use reports::evidence::DrillEvidence;
use reports::{NOT_COVERED, Outcome, RunEvidence, html, markdown};

use crate::drills;
use crate::script::{Script, header};

fn run(scripts: &[Script]) -> RunEvidence {
    RunEvidence::new(scripts.iter().map(Script::fold).collect())
}

#[test]
fn recovered() {
    insta::assert_snapshot!(markdown::render(&run(&[drills::recovered()])));
}

#[test]
fn rto_missed() {
    insta::assert_snapshot!(markdown::render(&run(&[drills::rto_missed()])));
}

#[test]
fn not_recovered() {
    insta::assert_snapshot!(markdown::render(&run(&[drills::not_recovered()])));
}

#[test]
fn false_alarm() {
    insta::assert_snapshot!(markdown::render(&run(&[drills::false_alarm()])));
}

#[test]
fn several() {
    let scripts = [
        drills::recovered(),
        drills::rto_missed(),
        drills::not_recovered(),
        drills::harness_error(),
    ];
    insta::assert_snapshot!(markdown::render(&run(&scripts)));
}

#[test]
fn what_a_check_left_out_on_purpose_is_among_the_limits() {
    let mut drill = drills::recovered().fold();
    let result = &mut drill.checks[0].result;
    result.detail = format!("Reference: a record. {NOT_COVERED}unlogged: cache");
    let told = format!("What {} leaves out: unlogged: cache.", result.check);
    let page = markdown::render(&RunEvidence::new(vec![drill]));
    let (_, limits) = page.split_once("## What this does not show").unwrap();
    assert!(limits.contains(&told), "{limits}");
}

#[test]
fn no_drill_at_all() {
    insta::assert_snapshot!(markdown::render(&run(&[])), @r"
    # Recovery drills: run

    **NOT VERIFIED.** No drill was run.
    ");
}

#[test]
fn headlines() {
    let all = drills::each_way_to_end();
    let headlines: Vec<String> = all
        .iter()
        .map(Script::fold)
        .map(|drill: DrillEvidence| drill.headline())
        .collect();
    insta::assert_snapshot!(headlines.join("\n"));
}

#[test]
fn every_page_says_the_same() {
    let run = run(&[drills::rto_missed()]);
    let (page, text) = (html::render(&run).unwrap(), markdown::render(&run));
    assert_eq!(page.matches("<h2").count(), text.matches("\n## ").count());
    assert_eq!(page.matches("<h3").count(), text.matches("\n### ").count());
    assert!(page.contains("<title>Recovery drill: The restore takes longer than the RTO allows</title>"));
    assert!(page.contains(r#"<span class="verdict pass">pass</span>"#));
}

#[test]
fn the_page_needs_nothing_else_and_escapes_everything() {
    let mut header = header("x", Outcome::Refused, None);
    header.title = "<script>alert(1)</script>".into();
    header.why = "\" onload=\"x".into();
    let script = Script::begin(header).end(Outcome::Refused, "<img src=x onerror=y> & more");
    let page = html::render(&run(&[script])).unwrap();
    for outside in [
        "<script",
        "<img",
        "src=",
        "http:",
        "https:",
        "url(",
        "@import",
        " onload=\"x",
    ] {
        let found = page.replace("&lt;img src=x", "").contains(outside);
        assert!(!found, "{outside}");
    }
    assert!(page.contains("&lt;img src=x onerror=y&gt; &amp; more"));
}

#[test]
fn links_of_the_summary_lead_to_headings() {
    let page = html::render(&run(&[drills::recovered(), drills::not_recovered()])).unwrap();
    for drill in ["data-directory-lost", "every-backup-corrupt"] {
        assert!(
            page.contains(&format!("href=\"#{drill}\"")) && page.contains(&format!("id=\"{drill}\"")),
            "{drill}"
        );
    }
}
