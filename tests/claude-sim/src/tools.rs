//! The tools themselves: Bash, Read, Write and Edit do what they say; the others answer that
//! they are not simulated.
//!
//! A tool never waits here: a command is started and looked after by the turn, which must hear
//! an interruption meanwhile.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use serde_json::{Value, json};

/// How much of a command's output claude sees, as with the real one.
const OUTPUT_MAX: usize = 30_000;

/// How long the output may stay open after a command has ended, held by a child it left behind.
const OUTPUT_GRACE: Duration = Duration::from_millis(500);

/// What a tool gave.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ran {
    /// What claude is told.
    pub(crate) content: String,
    /// The real one says so only for Bash and for errors.
    pub(crate) is_error: Option<bool>,
    /// `tool_use_result` of the event.
    pub(crate) detail: Value,
}

impl Ran {
    /// A tool failed, or did not run.
    pub(crate) fn error(content: impl Into<String>) -> Self {
        let content = content.into();
        let told = content
            .strip_prefix("<tool_use_error>")
            .and_then(|told| told.strip_suffix("</tool_use_error>"));
        let told = told.unwrap_or(&content);
        let told = told.strip_prefix("Error: ").unwrap_or(told);
        let detail = json!(format!("Error: {told}"));
        Self { content, is_error: Some(true), detail }
    }

    fn ok(content: String, detail: Value) -> Self {
        Self { content, is_error: None, detail }
    }
}

/// A tool that was started.
pub(crate) enum Started {
    /// It is done.
    Done(Ran),
    /// A command runs.
    Command(Running),
}

/// Starts a tool.
pub(crate) fn start(name: &str, input: &Value, cwd: &Path) -> Started {
    let done = match name {
        "Bash" => match Running::start(input["command"].as_str().unwrap_or_default(), cwd) {
            Ok(running) => return Started::Command(running),
            Err(error) => Ran::error(format!("Error: cannot start bash: {error}")),
        },
        "Read" => with_path(input, cwd, read),
        "Write" => with_path(input, cwd, |path, _| write(path, input)),
        "Edit" => with_path(input, cwd, |path, _| edit(path, input)),
        "AskUserQuestion" => answers(input),
        _ => Ran::ok(format!("{name} is not simulated."), json!({})),
    };
    Started::Done(done)
}

fn with_path(input: &Value, cwd: &Path, work: impl FnOnce(&Path, &Path) -> Ran) -> Ran {
    match input["file_path"].as_str() {
        Some(path) => work(&cwd.join(path), cwd),
        None => Ran::error(
            "<tool_use_error>InputValidationError: The required parameter `file_path` is missing</tool_use_error>",
        ),
    }
}

fn read(path: &Path, cwd: &Path) -> Ran {
    let Ok(bytes) = std::fs::read(path) else {
        let cwd = cwd.display();
        return Ran::error(format!(
            "File does not exist. Note: your current working directory is {cwd}."
        ));
    };
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<String> = text
        .split('\n')
        .enumerate()
        .map(|(index, line)| format!("{}\t{line}", index + 1))
        .collect();
    Ran::ok(lines.join("\n"), json!({"type": "text", "file": {"filePath": path, "content": text}}))
}

fn write(path: &Path, input: &Value) -> Ran {
    let existed = path.exists();
    let content = input["content"].as_str().unwrap_or_default();
    let folder = path.parent().map(PathBuf::from).unwrap_or_default();
    if let Err(error) = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(path, content))
    {
        return Ran::error(format!("Error: cannot write {}: {error}", path.display()));
    }
    let shown = path.display();
    let note = "(file state is current in your context — no need to Read it back)";
    let (kind, told) = if existed {
        ("update", format!("The file {shown} has been updated successfully. {note}"))
    } else {
        ("create", format!("File created successfully at: {shown} {note}"))
    };
    Ran::ok(told, json!({"type": kind, "filePath": path, "content": content}))
}

fn edit(path: &Path, input: &Value) -> Ran {
    let (old, new) = (
        input["old_string"].as_str().unwrap_or_default(),
        input["new_string"].as_str().unwrap_or_default(),
    );
    let Ok(text) = std::fs::read_to_string(path) else {
        return Ran::error("<tool_use_error>File does not exist.</tool_use_error>");
    };
    if old.is_empty() || !text.contains(old) {
        return Ran::error(format!(
            "<tool_use_error>String to replace not found in file.\nString: {old}</tool_use_error>"
        ));
    }
    if let Err(error) = std::fs::write(path, text.replacen(old, new, 1)) {
        return Ran::error(format!("Error: cannot write {}: {error}", path.display()));
    }
    let told = format!("The file {} has been updated successfully.", path.display());
    Ran::ok(told, json!({"filePath": path, "oldString": old, "newString": new}))
}

fn answers(input: &Value) -> Ran {
    let Some(answers) = input["answers"].as_object().filter(|answers| !answers.is_empty()) else {
        return Ran::ok("The user did not answer the questions.".to_owned(), input.clone());
    };
    let told: Vec<String> =
        answers.iter().map(|(question, answer)| format!("\"{question}\"={answer}")).collect();
    let told = told.join(", ");
    let told = format!(
        "Your questions have been answered: {told}. You can now continue with these answers in mind."
    );
    Ran::ok(told, input.clone())
}

/// A command at work.
pub(crate) struct Running {
    child: Child,
    output: [Receiver<Vec<u8>>; 2],
}

impl Running {
    fn start(command: &str, cwd: &Path) -> std::io::Result<Self> {
        let mut child = Command::new("bash")
            .args(["-c", command])
            .current_dir(cwd)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let output = [collect(child.stdout.take()), collect(child.stderr.take())];
        Ok(Self { child, output })
    }

    /// What it gave, once it has ended.
    pub(crate) fn poll(&mut self) -> Option<Ran> {
        let status = match self.child.try_wait() {
            Ok(status) => status?,
            Err(error) => return Some(Ran::error(format!("Error: lost the command: {error}"))),
        };
        let [stdout, stderr] = self.output.each_ref().map(|output| {
            let bytes = output.recv_timeout(OUTPUT_GRACE).unwrap_or_default();
            let text = String::from_utf8_lossy(&bytes);
            text.trim_end().chars().take(OUTPUT_MAX).collect::<String>()
        });
        let parts: Vec<&str> = [stdout.as_str(), stderr.as_str()]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect();
        let both = parts.join("\n");
        if status.success() {
            let detail =
                json!({"stdout": stdout, "stderr": stderr, "interrupted": false, "isImage": false});
            return Some(Ran { content: both, is_error: Some(false), detail });
        }
        let code = status.code().map_or_else(|| "a signal".to_owned(), |code| code.to_string());
        Some(Ran::error(format!("Exit code {code}\n{both}").trim_end().to_owned()))
    }

    /// Ends it.
    pub(crate) fn kill(&mut self) {
        // It may have ended by itself just now, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads to the end in a thread, which ends with the pipe or with the process.
fn collect(pipe: Option<impl std::io::Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (tell, told) = sync_channel(1);
    if let Some(mut pipe) = pipe {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            // What was read before an error is what there is.
            let _ = pipe.read_to_end(&mut bytes);
            let _ = tell.send(bytes);
        });
    }
    told
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn run(name: &str, input: &Value, cwd: &Path) -> Ran {
        let mut running = match start(name, input, cwd) {
            Started::Done(ran) => return ran,
            Started::Command(running) => running,
        };
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(ran) = running.poll() {
                return ran;
            }
            assert!(Instant::now() < deadline, "the command does not end");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_command_gives_its_output_and_its_code() {
        let folder = tempfile::tempdir().unwrap();
        let ran = run("Bash", &json!({"command": "echo out; echo err >&2"}), folder.path());
        assert_eq!((ran.content.as_str(), ran.is_error), ("out\nerr", Some(false)));
        let ran = run("Bash", &json!({"command": "echo no; exit 3"}), folder.path());
        assert_eq!((ran.content.as_str(), ran.is_error), ("Exit code 3\nno", Some(true)));
    }

    #[test]
    fn a_file_is_written_read_and_edited() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sub/note.txt");
        let wrote =
            run("Write", &json!({"file_path": "sub/note.txt", "content": "a\nb\n"}), folder.path());
        assert!(wrote.content.starts_with("File created successfully at: "), "{}", wrote.content);
        let edited = json!({"file_path": path, "old_string": "b", "new_string": "c"});
        assert_eq!(run("Edit", &edited, folder.path()).is_error, None);
        assert_eq!(run("Edit", &edited, folder.path()).is_error, Some(true), "b is gone");
        assert_eq!(
            run("Read", &json!({"file_path": path}), folder.path()).content,
            "1\ta\n2\tc\n3\t"
        );
    }

    #[test]
    fn a_file_that_is_not_there_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let ran = run("Read", &json!({"file_path": "nothing"}), folder.path());
        let told = format!(
            "File does not exist. Note: your current working directory is {}.",
            folder.path().display()
        );
        assert_eq!(ran, Ran::error(told));
    }

    #[test]
    fn a_question_gives_its_answers() {
        let ran = answers(&json!({"questions": [], "answers": {"Which?": "B"}}));
        assert!(ran.content.starts_with(r#"Your questions have been answered: "Which?"="B"."#));
        assert_eq!(answers(&json!({})).content, "The user did not answer the questions.");
    }
}
