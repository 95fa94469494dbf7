//! Precedence, default places and refusals, without a process.

use std::collections::HashMap;

use super::*;

fn resolve_with(flags: &Flags, env: &[(&str, &str)], cwd: &Path) -> Result<Config, Error> {
    let env: HashMap<_, _> = env.iter().copied().collect();
    resolve(flags, &|name| env.get(name).map(|v| (*v).to_owned()), cwd)
}

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory can be made")
}

#[test]
fn flags_win_over_environment_over_file_over_defaults() {
    let dir = directory();
    let text =
        "port = 1\n[limits]\nqueue_jobs_max = 11\nruns_max = 12\ncontent_bytes_max = \"1KiB\"\n";
    std::fs::write(dir.path().join("dchat.toml"), text).expect("the file can be written");
    let flags = Flags {
        port: Some(3),
        limits: vec!["queue_jobs_max=33".to_owned()],
        ..Flags::default()
    };
    let env = [
        ("HOME", "/home/x"),
        ("DCHAT_QUEUE_JOBS_MAX", "22"),
        ("DCHAT_RUNS_MAX", "22"),
    ];
    let config = resolve_with(&flags, &env, dir.path()).expect("a valid configuration");
    assert_eq!(config.server.port, 3);
    assert_eq!(config.server.limits.queue_jobs_max, 33);
    assert_eq!(config.server.limits.runs_max, 22);
    assert_eq!(config.server.limits.content_bytes_max, 1024);
    assert_eq!(config.server.limits.readers, Limits::default().readers);
}

#[test]
fn data_directory_follows_the_documented_order() {
    let dir = directory();
    let at = |env: &[(&str, &str)]| {
        let config = resolve_with(&Flags::default(), env, dir.path());
        config.expect("a valid configuration").server.data_dir
    };
    let home = ("HOME", "/home/x");
    assert_eq!(at(&[home]), Path::new("/home/x/.local/share/dchat"));
    assert_eq!(at(&[home, ("XDG_DATA_HOME", "/d")]), Path::new("/d/dchat"));
    std::fs::create_dir(dir.path().join("dchat-data")).expect("a directory can be made");
    assert_eq!(at(&[home]), dir.path().join("dchat-data"));
    let state = ("STATE_DIRECTORY", "/var/lib/dchat:/other");
    assert_eq!(at(&[home, state]), Path::new("/var/lib/dchat"));
}

#[test]
fn shown_configuration_reads_back_as_itself() {
    let dir = directory();
    let flags = Flags {
        limits: vec!["commit_jobs_max=1".to_owned()],
        log_filter: Some("debug".to_owned()),
        ..Flags::default()
    };
    let env = [("HOME", "/home/x")];
    let first = resolve_with(&flags, &env, dir.path()).expect("a valid configuration");
    let path = dir.path().join("dchat.toml");
    std::fs::write(&path, show::render(&first)).expect("the file can be written");
    let second = resolve_with(&Flags::default(), &env, dir.path()).expect("a valid configuration");
    assert_eq!(first.server.limits, second.server.limits);
    assert_eq!(first.log, second.log);
    assert_eq!(first.server.data_dir, second.server.data_dir);
}

#[test]
fn unusable_values_name_their_origin() {
    let dir = directory();
    let env = [("HOME", "/home/x"), ("DCHAT_RUNS_MAX", "many")];
    let error = resolve_with(&Flags::default(), &env, dir.path()).err();
    let text = error.map(|e| e.to_string()).unwrap_or_default();
    assert!(
        text.contains("DCHAT_RUNS_MAX") && text.contains("many"),
        "{text}"
    );

    std::fs::write(dir.path().join("dchat.toml"), "prot = 7\n").expect("written");
    let error = resolve_with(&Flags::default(), &env[..1], dir.path()).err();
    let text = error.map(|e| e.to_string()).unwrap_or_default();
    assert!(
        text.contains("dchat.toml") && text.contains("prot") && text.contains("line 1"),
        "{text}"
    );
}

#[test]
fn address_off_loopback_needs_open() {
    let dir = directory();
    let mut flags = Flags {
        bind: vec![IpAddr::from([0, 0, 0, 0])],
        ..Flags::default()
    };
    let env = [("HOME", "/home/x")];
    assert!(matches!(
        resolve_with(&flags, &env, dir.path()),
        Err(Error::Exposed { .. })
    ));
    flags.open = Some(true);
    assert!(resolve_with(&flags, &env, dir.path()).is_ok());
}
