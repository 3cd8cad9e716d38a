"""
The options of a connector and the settings of a worker: declared, read and checked.

`options`         how an option is declared, and how a text becomes its value
`connector`       the options of a connector; `checks` looks at several of them together
`worker`          the options of a worker; `worker_checks` looks at several of them together
`chain`           the transforms and predicates that a connector names, and their options; `chain_reading` reads them
`load`            reads a worker's environment: its settings, and the connector that it declares
`fields`          the streams, fields and expansions of X
`addresses`       hosts, ports and URLs, checked and normalised
`faust_settings`  the settings that Faust reads under our prefix, and those that are refused
`vault`           secrets in configurations by REST: encrypted, kept, hidden; `keys` encrypts
`masks`           which options are secrets, and how a configuration is shown
`references`      the forms of `${env:...}` and `${file:...}`, and what REST may refer to
`migration`       understands properties of connectors in Java; `track` makes rules of their filters
`properties`      reads Java's `.properties`
`secret`          a text that is never shown or logged
`names`           the names of a worker group's own topics in Kafka
`rules`           the rules of the filtered stream
`dotenv`          reads the file `.env`
`kafka_security`  checks that the settings of TLS and of the login fit together
`certificates`    checks files of certificates and keys
`docs`            makes docs/configuration.md from the declarations
"""
