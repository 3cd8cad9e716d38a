"""
Values with a schema in a registry: `value.format=avro`, `json_schema` and `protobuf`.

    post ─▶ Writer: the bytes of the value ─▶ SchemaIds: which id has the schema? ─▶ head with the id, and the bytes
                                                  │ asked for in the background, kept
                                                  ▼
                                              Registry

`wire` is the form of the head, `writer` says what a format is, `ids` keeps the ids, `confluent` asks for them.  Only
`confluent`, and the modules of the formats, import the packages of the extra `schema`.  `avro_author` and
`protobuf_author` find who wrote a post in a value, without these and without a registry.
"""
