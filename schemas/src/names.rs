//! Names in telemetry: of spans, and of what is said of them.
//!
//! Both services and the tests have them from here. They follow OpenTelemetry's semantic conventions
//! (1.37: messaging, database, HTTP, generative AI); what those have no word for begins with
//! `holdfast.`. A name that was published stays: people build views and alerts on it. Those of
//! metrics have a table of their own.

pub mod metrics;

/// Spans, in the order in which a message passes them.
pub mod span {
    /// The root: a message of Discord's becomes a run. Gateway.
    pub const ACCEPT: &str = "process MESSAGE_CREATE";
    /// The run is stored, with what Discord is owed for it. Gateway, child of the root.
    pub const STORE_RUN: &str = "store run";
    /// The work is put into WORK. Gateway, child of the root; one a generation.
    pub const PUBLISH: &str = "publish WORK";
    /// A runner holds the run, from its claim to its outcome, over all lives of the runner. Child of
    /// the publishing.
    pub const RUN: &str = "process WORK";
    /// From the delivery to the record that says who holds the run. Child of the run.
    pub const CLAIM: &str = "claim";
    /// The place to work in, the spool, and claude's keeper in tmux. Child of the run.
    pub const START: &str = "start claude";
    /// A later life of the runner goes on with the run: a child of the publishing, linked to the run.
    pub const ADOPT: &str = "adopt";
    /// One claude, from its start to its end. Child of the run; claude's own spans are its children.
    pub const CLAUDE: &str = "invoke_agent claude";
    /// A tool that claude used; its name follows. Child of claude.
    pub const TOOL: &str = "execute_tool";
    /// claude waits for a person's word. Child of claude.
    pub const ASK: &str = "wait for a person";
    /// From the outcome to the acknowledged work. Child of the run.
    pub const FINISH: &str = "finish";
    /// The outcome becomes what Discord is owed. Gateway, child of the run.
    pub const FOLD: &str = "process RUNS";
    /// One request to Discord: method and path. Gateway, child of the root.
    pub const POST: &str = "POST /channels/{channel}/messages";
}

/// What links a span to another.
pub mod link {
    /// The attribute of a link that says why it is there.
    pub const WHY: &str = "holdfast.link";
    /// The span is of a later life of the same holder.
    pub const ADOPTION: &str = "adoption";
    /// Another runner held the run before.
    pub const TAKE_OVER: &str = "take-over";
    /// The work was delivered before.
    pub const REDELIVERY: &str = "redelivery";
    /// An earlier claude of the same holding ended without an outcome.
    pub const AGAIN: &str = "again";
}

/// Attributes.
pub mod attribute {
    /// The run's name.
    pub const RUN: &str = "holdfast.run";
    /// The project's name.
    pub const PROJECT: &str = "holdfast.project";
    /// The run's generation.
    pub const GENERATION: &str = "holdfast.generation";
    /// The attempt in its generation.
    pub const ATTEMPT: &str = "holdfast.attempt";
    /// The runner's name.
    pub const RUNNER: &str = "holdfast.runner";
    /// How a run ended: `answered`, `failed`, `stopped`.
    pub const OUTCOME: &str = "holdfast.outcome";
    /// What it cost so far as claude said, in US dollars, resumed parts included.
    pub const COST: &str = "holdfast.cost_usd";
    /// What claude asks: `leave`, `question`, `plan`.
    pub const ASK: &str = "holdfast.ask";
    /// The name of what Discord was owed.
    pub const ROW: &str = "holdfast.row";
    /// How often a row was tried before.
    pub const RESENDS: &str = "http.request.resend_count";

    /// `discord` or `nats`.
    pub const MESSAGING_SYSTEM: &str = "messaging.system";
    /// `process`, `send`.
    pub const MESSAGING_TYPE: &str = "messaging.operation.type";
    /// `process`, `publish`.
    pub const MESSAGING_NAME: &str = "messaging.operation.name";
    /// The stream, or the channel.
    pub const DESTINATION: &str = "messaging.destination.name";
    /// The message's id.
    pub const MESSAGE: &str = "messaging.message.id";

    /// `sqlite` or `postgresql`.
    pub const DB_SYSTEM: &str = "db.system.name";
    /// What was done, in a word or two.
    pub const DB_SUMMARY: &str = "db.query.summary";

    /// The method of a request.
    pub const METHOD: &str = "http.request.method";
    /// The path of a request, with names in place of ids.
    pub const TEMPLATE: &str = "url.template";
    /// Who was asked.
    pub const SERVER: &str = "server.address";
    /// The port of who was asked.
    pub const PORT: &str = "server.port";

    /// `invoke_agent`, `execute_tool`.
    pub const OPERATION: &str = "gen_ai.operation.name";
    /// Who made the model.
    pub const PROVIDER: &str = "gen_ai.provider.name";
    /// The agent.
    pub const AGENT: &str = "gen_ai.agent.name";
    /// claude's session.
    pub const CONVERSATION: &str = "gen_ai.conversation.id";
    /// The model that answered.
    pub const MODEL: &str = "gen_ai.response.model";
    /// Tokens that the model read.
    pub const INPUT: &str = "gen_ai.usage.input_tokens";
    /// Tokens that it wrote.
    pub const OUTPUT: &str = "gen_ai.usage.output_tokens";
    /// The tool.
    pub const TOOL: &str = "gen_ai.tool.name";
    /// The call.
    pub const CALL: &str = "gen_ai.tool.call.id";
    /// What it was called with; a text of somebody's.
    pub const ARGUMENTS: &str = "gen_ai.tool.call.arguments";
    /// What people asked; a text of somebody's.
    pub const QUESTION: &str = "gen_ai.input.messages";
    /// What claude answered; a text of somebody's.
    pub const ANSWER: &str = "gen_ai.output.messages";
}
