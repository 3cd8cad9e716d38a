"""
What does an operator say?

`options`         how an option is declared, and how a text becomes its value
`connector`       the options of a connector; `checks` looks at several of them together
`worker`          the options of a worker; `worker_checks` looks at several of them together
`load`            reads a worker's environment: its settings, and the connector that it declares
`fields`          the names that X's streams take
`addresses`       hosts, ports and URLs as users write them
`faust_settings`  Faust's own settings under our prefix: which there are, which are refused
`secret`          a text that is never shown
`names`           the names of a group's own topics in Kafka
`rules`           which posts a connector asks for
`dotenv`          the file `.env`
`kafka_security`  which settings of TLS and of the login go together
`certificates`    can the files of certificates and keys be used
`docs`            docs/configuration.md, made of the declarations
"""
