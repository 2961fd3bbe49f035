// The views: each asks for facts and makes elements of them.

import {
  count, element, facts, fieldOfTime, form, link, pages, rate, table, time, timeOfField, troubles,
} from "./elements.js";

/** Each view by its name in the address: the entry of the menu that it belongs to, and what it shows. */
export const VIEWS = {
  "brokers": { entry: "brokers", show: brokers },
  "broker": { entry: "brokers", show: broker },
  "topics": { entry: "topics", show: topics },
  "topic": { entry: "topics", show: topic },
  "groups": { entry: "groups", show: groups },
  "group": { entry: "groups", show: group },
  "messages": { entry: "messages", show: messages },
  "message": { entry: "messages", show: message },
  "dead-letters": { entry: "dead-letters", show: deadLetters },
};

const heading = (...text) => element("h1", {}, ...text);

async function brokers({ ask }) {
  const { name_servers: servers, brokers: listed } = await ask("brokers");
  return [
    heading("Cluster"),
    element("p", {}, `Name servers: ${servers.join(", ")}`),
    table("Brokers", [
      { title: "Broker", of: (it) => it.broker },
      { title: "Cluster", of: (it) => it.cluster },
      { title: "No.", of: (it) => it.id, number: true },
      { title: "Role", of: (it) => it.role },
      { title: "Address", of: (it) => link(it.address, "broker", { address: it.address }) },
      { title: "Version", of: (it) => it.version },
      { title: "Produce TPS", of: (it) => rate(it.produce_tps), number: true },
      { title: "Consume TPS", of: (it) => rate(it.consume_tps), number: true },
      { title: "Yesterday produced", of: (it) => count(it.yesterday_produced), number: true },
      { title: "Yesterday consumed", of: (it) => count(it.yesterday_consumed), number: true },
      { title: "Today produced", of: (it) => count(it.today_produced), number: true },
      { title: "Today consumed", of: (it) => count(it.today_consumed), number: true },
    ], listed.items, 5),
    pages(listed, "brokers"),
    element("p", { class: "none" }, "TPS is of the last ten seconds. Counts begin at the broker's midnight, and anew when it starts."),
  ];
}

async function broker({ ask, query }) {
  const facts = await ask("broker", query);
  const pairs = (caption, items) => table(caption, [
    { title: "Key", of: (it) => it.key },
    { title: "Value", of: (it) => it.value, long: true },
  ], items);
  return [
    heading(`Broker ${facts.broker} at ${facts.address}`),
    troubles(facts.troubles),
    pairs("Configuration", facts.settings),
    pairs("Status", facts.status),
  ];
}

function filter({ query, go }, view, what) {
  return form([{ name: "filter", label: `${what} with`, type: "search", value: query.filter }], "Show",
    (entered) => go(view, entered));
}

async function topics(page) {
  const listed = await page.ask("topics", page.query);
  return [
    heading("Topics"),
    filter(page, "topics", "Topics"),
    table("Topics", [
      { title: "Topic", of: (it) => link(it.topic, "topic", { topic: it.topic }), long: true },
      { title: "Kind", of: (it) => it.kind },
      { title: "Brokers", of: (it) => it.brokers.join(", "), long: true },
      { title: "Read queues", of: (it) => it.read_queues, number: true },
      { title: "Write queues", of: (it) => it.write_queues, number: true },
    ], listed.items, 2),
    pages(listed, "topics", page.query),
  ];
}

async function topic({ ask, query }) {
  const it = await ask("topic", query);
  return [
    heading(`Topic ${it.topic}`),
    element("p", {}, `Kind: ${it.kind}. `, link("Its newest messages", "messages", { topic: it.topic })),
    troubles(it.troubles),
    table("Route", [
      { title: "Broker", of: (row) => row.broker },
      { title: "Cluster", of: (row) => row.cluster },
      { title: "Addresses", of: (row) => row.addresses.join(", "), long: true },
      { title: "Read queues", of: (row) => row.read_queues, number: true },
      { title: "Write queues", of: (row) => row.write_queues, number: true },
      { title: "Permission", of: (row) => row.permission },
    ], it.route),
    table("Queues", [
      { title: "Broker", of: (row) => row.broker },
      { title: "Queue", of: (row) => row.queue, number: true },
      { title: "First offset", of: (row) => row.min_offset, number: true },
      { title: "Behind the last", of: (row) => row.max_offset, number: true },
      { title: "Messages", of: (row) => count(row.max_offset - row.min_offset), number: true },
      { title: "Last stored", of: (row) => time(row.last_stored_ms) },
    ], it.queues.items),
    pages(it.queues, "topic", query),
    table("Consumer groups", [{ title: "Group", of: (row) => link(row, "group", { group: row }) }], it.groups.items),
    pages(it.groups, "topic", query),
  ];
}

async function groups(page) {
  const listed = await page.ask("groups", page.query);
  return [
    heading("Consumer groups"),
    filter(page, "groups", "Groups"),
    table("Consumer groups", [
      { title: "Group", of: (it) => link(it.group, "group", { group: it.group }), long: true },
      { title: "Members", of: (it) => it.members, number: true },
      { title: "Oldest version", of: (it) => it.version },
      { title: "Type", of: (it) => it.consume_type },
      { title: "Model", of: (it) => it.model },
      { title: "Consume TPS", of: (it) => rate(it.consume_tps), number: true },
      { title: "Lag", of: (it) => count(it.lag), number: true },
    ], listed.items),
    listed.items.flatMap((it) => troubles(it.troubles.map((text) => `${it.group}: ${text}`))),
    pages(listed, "groups", page.query),
    element("p", { class: "none" }, "Groups are those with a retry topic, which each gets when a member of it is online for the first time."),
  ];
}

async function group({ ask, query }) {
  const it = await ask("group", query);
  return [
    heading(`Group ${it.group}`),
    troubles(it.troubles),
    facts([
      ["Members", it.members.total],
      ["Oldest version", it.version],
      ["Type and model", `${it.consume_type} ${it.model}`],
      ["Consume TPS", rate(it.consume_tps)],
      ["Lag", count(it.lag)],
      ["Dead letters", link("what it has given up", "dead-letters", { group: it.group })],
    ]),
    table("Members", [
      { title: "Client", of: (row) => row.client_id, long: true },
      { title: "Address", of: (row) => row.address },
      { title: "Language", of: (row) => row.language },
      { title: "Version", of: (row) => row.version },
    ], it.members.items),
    pages(it.members, "group", query),
    table("Subscriptions", [
      { title: "Topic", of: (row) => link(row.topic, "topic", { topic: row.topic }) },
      { title: "Expression", of: (row) => row.expression, long: true },
    ], it.subscriptions.items),
    pages(it.subscriptions, "group", query),
    table("Queues", [
      { title: "Topic", of: (row) => row.topic, long: true },
      { title: "Broker", of: (row) => row.broker },
      { title: "Queue", of: (row) => row.queue, number: true },
      { title: "Broker offset", of: (row) => row.broker_offset, number: true },
      { title: "Consumer offset", of: (row) => row.consumer_offset, number: true },
      { title: "Lag", of: (row) => count(row.lag), number: true },
      { title: "Last consumed was stored", of: (row) => time(row.last_consumed_ms) },
    ], it.queues.items),
    pages(it.queues, "group", query),
  ];
}

const MESSAGE_COLUMNS = [
  { title: "Id", of: (it) => link(it.id, "message", { address: it.address, offset: it.offset }) },
  { title: "Stored", of: (it) => time(it.stored_ms) },
  { title: "Topic", of: (it) => it.topic, long: true },
  { title: "Tag", of: (it) => it.tags, long: true },
  { title: "Keys", of: (it) => it.keys, long: true },
  { title: "Broker", of: (it) => it.address },
  { title: "Queue", of: (it) => it.queue, number: true },
  { title: "Offset", of: (it) => it.queue_offset, number: true },
  { title: "Bytes", of: (it) => count(it.body_bytes), number: true },
];

async function messages({ ask, query, go }) {
  const search = form([
    { name: "topic", label: "Topic", value: query.topic },
    { name: "id", label: "Message id", value: query.id },
    { name: "key", label: "Key", value: query.key },
    { name: "begin", label: "Stored from", type: "datetime-local", value: fieldOfTime(query.begin) },
    { name: "end", label: "to before", type: "datetime-local", value: fieldOfTime(query.end) },
  ], "Find", (entered) => {
    go("messages", { ...entered, begin: timeOfField(entered.begin), end: timeOfField(entered.end) });
  });
  const asks = query.topic || query.id;
  const found = asks ? await ask("messages", query) : null;
  return [
    heading("Messages"),
    search,
    found ? null : element("p", {}, "An id finds a message by itself if it says where the message is; any other id, and a key, want the topic. The topic alone shows its newest messages."),
    found ? troubles(found.troubles) : null,
    found ? table("Messages", MESSAGE_COLUMNS, found.messages.items) : null,
    found ? pages(found.messages, "messages", query) : null,
  ];
}

const STATES = {
  CONSUMED: "consumed",
  CONSUMED_BUT_FILTERED: "passed over: the subscription does not let it pass",
  NOT_CONSUME_YET: "not consumed yet",
  NOT_ONLINE: "nobody is online",
  PULL: "not known: the group pulls",
  CONSUME_BROADCASTING: "not known: each member consumes all",
  UNKNOWN: "not known",
};

async function message({ ask, query }) {
  const it = await ask("message", query);
  return [
    heading(`Message ${it.id}`),
    troubles(it.troubles),
    facts([
      ["Topic", link(it.topic, "topic", { topic: it.topic })],
      ["Tag", it.tags],
      ["Keys", it.keys],
      ["Broker", it.address],
      ["Queue and offset", `${it.queue}, ${it.queue_offset}`],
      ["Place", it.offset_id],
      ["Stored", time(it.stored_ms)],
      ["Born", time(it.born_ms)],
      ["Stored at", it.store_host],
      ["Born at", it.born_host],
      ["Consumed in vain", `${it.reconsume_times} times`],
    ]),
    table("Where it stands", [
      { title: "Group", of: (row) => link(row.group, "group", { group: row.group }) },
      { title: "State", of: (row) => `${row.state}: ${STATES[row.state] ?? ""}` },
      { title: "Reason", of: (row) => row.reason, long: true },
    ], it.groups.items),
    pages(it.groups, "message", query),
    table("Properties", [
      { title: "Name", of: (row) => row.name, long: true },
      { title: "Value", of: (row) => row.value, long: true },
    ], it.properties),
    element("h2", { id: "body" }, `Body (${count(it.body_bytes)} bytes)`),
    it.body.note ? element("p", { class: "note" }, it.body.note) : null,
    element("pre", { tabindex: "0", "aria-labelledby": "body" }, it.body.text),
  ];
}

async function deadLetters(page) {
  const { ask, query } = page;
  if (!query.group) {
    const listed = await ask("dead-letters", query);
    return [
      heading("Dead letters"),
      filter(page, "dead-letters", "Groups"),
      table("Groups that have given up messages", [
        { title: "Group", of: (it) => link(it.group, "dead-letters", { group: it.group }), long: true },
        { title: "Letters", of: (it) => count(it.letters), number: true },
      ], listed.items, 1),
      pages(listed, "dead-letters", query),
    ];
  }
  const found = await ask("dead-letters", query);
  const resend = { title: "Send again", of: (it) => button(page, it) };
  return [
    heading(`Dead letters of ${query.group}`),
    page.mayChange ? null : element("p", {}, "They can be sent again where the console was started with --allow-changes."),
    troubles(found.troubles),
    table("Dead letters", page.mayChange ? [...MESSAGE_COLUMNS, resend] : MESSAGE_COLUMNS, found.messages.items),
    pages(found.messages, "dead-letters", query),
  ];
}

/** Has a member of the group consume the letter, and says what came of it. */
function button({ tell, query }, letter) {
  const outcome = element("span", { role: "status" });
  const made = element("button", {
    type: "button",
    "aria-label": `Send ${letter.id} again`,
    click: async () => {
      made.disabled = true;
      outcome.textContent = " …";
      try {
        const told = await tell("dead-letters/resend", {
          group: query.group, address: letter.address, offset: letter.offset,
        });
        const remark = told.remark ? `: ${told.remark}` : "";
        outcome.textContent = ` ${told.result} by ${told.client_id}${remark}. The letter stays here.`;
      } catch (error) {
        outcome.textContent = ` ${error.message}`;
      }
      made.disabled = false;
    },
  }, "Send again");
  return element("span", {}, made, outcome);
}
