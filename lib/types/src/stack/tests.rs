use alloc::string::ToString;
use alloc::vec;

use super::*;

fn layers(names: &[&str]) -> (Vec<LayerName>, Vec<LayerName>) {
    let plan = plan(&Sources { names, ..Sources::default() }).expect("a pack fits");
    (plan.layers_build, plan.layers_run)
}

#[test]
fn names_parse_back_and_layers_stand_on_known_ones() {
    for layer in LayerName::ALL {
        assert_eq!(LayerName::parse(layer.as_str()), Some(layer));
        assert_eq!(layer.on().is_none(), layer == LayerName::Run);
    }
    assert_eq!(LayerName::parse("perl"), None);
    assert_eq!(Pack::parse("heroku/python"), Some(Pack::Python));
}

#[test]
fn python_app_with_pages_is_python_and_needs_no_compiler() {
    let (build, run) = layers(&["./package.json", "./requirements.txt", "./app.py"]);
    assert_eq!(build, [LayerName::Run, LayerName::Python, LayerName::PythonBuild]);
    assert_eq!(run, [LayerName::Run, LayerName::Python]);
}

#[test]
fn go_program_runs_on_the_base_alone() {
    assert_eq!(layers(&["go.mod", "main.go"]).1, [LayerName::Run]);
    assert_eq!(layers(&["public/index.html"]).1, [LayerName::Run, LayerName::Static]);
}

#[test]
fn foreign_buildpack_gets_compilers_and_the_languages_of_the_app() {
    let sources = Sources {
        names: &["requirements.txt", "index.html", "buildpack/bin/compile"],
        buildpacks: Some("# first\n\n./buildpack\n"),
        buildpack_url: None,
    };
    let plan = plan(&sources).expect("named");
    assert_eq!(plan.origin, Origin::Named(vec!["./buildpack".to_string()]));
    use LayerName::{Build, Python, PythonBuild, PythonDev, Run};
    assert_eq!(plan.layers_build, [Run, Python, PythonBuild, PythonDev, Build]);
    assert_eq!(plan.layers_run, [LayerName::Run, LayerName::Python]);
}

#[test]
fn url_goes_before_the_file_and_short_names_need_no_compiler() {
    let sources = Sources { names: &[], buildpacks: Some("nodejs\npython"), buildpack_url: Some(" static ") };
    assert_eq!(plan(&sources).expect("named").layers_build, [LayerName::Run, LayerName::Static]);
    let sources = Sources { buildpack_url: None, ..sources };
    let plan = plan(&sources).expect("named");
    assert_eq!(plan.layers_run, [LayerName::Run, LayerName::Python, LayerName::Nodejs]);
    assert_eq!(plan.with(&[LayerName::Build]).layers_build.last(), Some(&LayerName::Build));
}

#[test]
fn undetected_app_is_told_what_was_looked_for_and_what_to_do() {
    let told = |names: &[&str]| plan(&Sources { names, ..Sources::default() }).expect_err("nothing fits").to_string();
    let message = told(&["README.md", "backend/package.json", "backend/server.js"]);
    assert!(message.contains("Node.js      package.json"), "{message}");
    assert!(message.contains("found: README.md backend/"), "{message}");
    assert!(message.contains("hint: backend/package.json is not at the top"), "{message}");
    assert!(told(&["Gemfile"]).contains("looks like Ruby"));
    assert!(told(&["Pipfile"]).contains("pipenv requirements"));
    assert!(told(&[]).contains("the commit holds no files"));
    assert!(told(&["app.py"]).contains("requirements.txt"));
}
