//! Tables of text.

use super::OrderedMap;

json_body! {
    /// A table of text (responses to 28, 103 and 219).
    #[derive(Eq)]
    KvTable {
        /// Entries.
        table: OrderedMap<String, String> = "table",
    }

    /// The file `kvConfig.json` of a name server.
    #[derive(Eq)]
    KvConfigSerializeWrapper {
        /// Entries per namespace.
        config_table: OrderedMap<String, OrderedMap<String, String>> = "configTable",
    }
}
