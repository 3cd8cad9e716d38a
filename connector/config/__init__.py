"""
What does an operator say?

`options`         how an option is declared, and how a text becomes its value
`connector`       the options of a connector
`worker`          the options of a worker
`names`           the names of a group's own topics in Kafka
`rules`           which posts a connector asks for
`dotenv`          the file `.env`
`kafka_security`  which settings of TLS and of the login go together
`certificates`    can the files of certificates and keys be used
`docs`            docs/configuration.md, made of the declarations
"""
