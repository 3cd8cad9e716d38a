/*
 * The steps by which a post is written: as `connector.formats.post.avro_steps` describes them, checked once.
 *
 * Whatever a description says, a program that was read reads and writes within its bounds, and ends.  The functions
 * return 0, with an error of Python, for a description that cannot be followed.
 */

#ifndef MURMURATION_STEPS_H
#define MURMURATION_STEPS_H

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>

#include "_table.h"

#define MEMBERS_MAX 30 /* of an object of X that steps read */
#define PLACES 64      /* in the table of their names */
#define NAMES_MAX 3
#define SOURCES_MAX 8

typedef enum {
    STRING, LONG, DOUBLE, BOOLEAN, MOMENT, MADE, ITEM, STRINGS, DOUBLES, RECORD, RECORDS, RULES, JOINED, JOINED_LIST,
    REFERENCED, TEXT, WHOLE, RAW, ABSENT, OPS
} Op;

static const char *const op_names[OPS] = {
    "string", "long", "double", "boolean", "moment", "made", "item", "strings", "doubles", "record", "records", "rules",
    "joined", "joined_list", "referenced", "text", "whole", "raw", "absent",
};

struct Record;

typedef struct {
    Op op;
    int slot, second, nullable, names, source;
    Slice path[NAMES_MAX];
    const struct Record *record;
} Step;

typedef struct Record {
    int members, steps;
    Slice names[MEMBERS_MAX];
    int8_t places[PLACES]; /* of the names by their hashes: slots, -1 for none */
    Step *step;
} Record;

typedef struct {
    PyObject *description; /* the names are in it */
    int records, sources;
    Record *record; /* the last one is the post */
    Slice source[SOURCES_MAX];
    /* where a post says whose text it repeats: slot of the references, the record of one, slots in it, source */
    int references, reference, type, id, posts;
} Program;

static inline unsigned
hash_of(Slice name)
{
    unsigned first = name.size ? name.bytes[0] : 0, last = name.size ? name.bytes[name.size - 1] : 0;
    return (unsigned)name.size * 5 + first * 3 + last * 11;
}

static inline int
slot_of(const Record *record, Slice name)
{
    for (unsigned place = hash_of(name);; place++) {
        int slot = record->places[place % PLACES];
        if (slot < 0 || same(record->names[slot], name))
            return slot;
    }
}

static inline void
free_program(Program *program)
{
    for (int i = 0; program->record && i < program->records; i++)
        PyMem_Free(program->record[i].step);
    PyMem_Free(program->record);
    Py_XDECREF(program->description);
    PyMem_Free(program);
}

static inline int
wrong(const char *what)
{
    PyErr_Format(PyExc_ValueError, "these steps cannot be done: %s", what);
    return 0;
}

/* Fills *names* from a tuple of at most *most* bytes; returns their count, or -1 with an error. */
static inline int
names_of(PyObject *tuple, Slice *names, int most)
{
    if (!PyTuple_Check(tuple) || PyTuple_Size(tuple) > most) {
        wrong("no tuple of names, or too many of them");
        return -1;
    }
    int count = (int)PyTuple_Size(tuple);
    for (int i = 0; i < count; i++) {
        char *bytes;
        if (PyBytes_AsStringAndSize(PyTuple_GetItem(tuple, i), &bytes, &names[i].size) < 0)
            return -1;
        names[i].bytes = (const uint8_t *)bytes;
    }
    return count;
}

static inline int
read_step(PyObject *tuple, const Program *program, int own, Step *step)
{
    const char *name;
    PyObject *path;
    int record;
    if (!PyTuple_Check(tuple))
        return wrong("a step is a tuple");
    TRY(PyArg_ParseTuple(tuple, "siiO!pii", &name, &step->slot, &step->second, &PyTuple_Type, &path, &step->nullable,
                         &record, &step->source));
    int op = 0;
    while (op < OPS && strcmp(name, op_names[op]))
        op++;
    if (op == OPS)
        return wrong(name);
    step->op = (Op)op;
    TRY((step->names = names_of(path, step->path, NAMES_MAX)) >= 0);
    int members = program->record[own].members;
    int reads = op != RAW && op != ABSENT && op != RULES, whole = op == TEXT || op == WHOLE;
    if (reads && (step->slot < 0 || step->slot >= members))
        return wrong("a step reads a member that its record does not name");
    if (whole && (step->second < 0 || step->second >= members || step->names != 1))
        return wrong("a whole text stands in two places");
    if (op == ITEM && (step->second < 0 || step->second > 1))
        return wrong("a point has two numbers");
    if ((op == RECORD || op == WHOLE || op == REFERENCED || op == RAW || op == ABSENT) && !step->nullable)
        return wrong("a value that may be absent has to be nullable");
    int joins = op == JOINED || op == JOINED_LIST || op == REFERENCED;
    if (joins && (step->source < 0 || step->source >= program->sources))
        return wrong("a step looks through a list of includes that is not named");
    if (joins || op == RECORD || op == RECORDS || op == RULES || op == WHOLE) {
        /* a record is described before those in which it is, so none is in itself */
        if (record < 0 || record >= own || !program->record[record].members)
            return wrong("a record is not described before");
        step->record = &program->record[record];
    }
    return 1;
}

static inline int
read_record(PyObject *tuple, const Program *program, int own)
{
    Record *record = &program->record[own];
    PyObject *members, *steps;
    if (!PyTuple_Check(tuple))
        return wrong("a record is a tuple");
    TRY(PyArg_ParseTuple(tuple, "O!O!", &PyTuple_Type, &members, &PyTuple_Type, &steps));
    TRY((record->members = names_of(members, record->names, MEMBERS_MAX)) >= 0);
    memset(record->places, -1, sizeof record->places);
    for (int slot = 0; slot < record->members; slot++) {
        unsigned place = hash_of(record->names[slot]);
        while (record->places[place % PLACES] >= 0)
            place++;
        record->places[place % PLACES] = (int8_t)slot;
    }
    Py_ssize_t count = PyTuple_Size(steps);
    if (count > 256)
        return wrong("a record has more than 256 steps");
    if (!(record->step = PyMem_Calloc((size_t)count + 1, sizeof(Step)))) {
        PyErr_NoMemory();
        return 0;
    }
    record->steps = (int)count;
    for (int i = 0; i < record->steps; i++)
        TRY(read_step(PyTuple_GetItem(steps, i), program, own, &record->step[i]));
    return 1;
}

static inline int
read_program(Program *program)
{
    PyObject *records, *sources;
    TRY(PyArg_ParseTuple(program->description, "O!O!(iiiii)", &PyTuple_Type, &records, &PyTuple_Type, &sources,
                         &program->references, &program->reference, &program->type, &program->id, &program->posts));
    TRY((program->sources = names_of(sources, program->source, SOURCES_MAX)) >= 0);
    Py_ssize_t count = PyTuple_Size(records);
    if (count < 1 || count > 64)
        return wrong("there are no records, or more than 64");
    if (!(program->record = PyMem_Calloc((size_t)count, sizeof(Record)))) {
        PyErr_NoMemory();
        return 0;
    }
    program->records = (int)count;
    for (int i = 0; i < program->records; i++)
        TRY(read_record(PyTuple_GetItem(records, i), program, i));
    const Record *post = &program->record[count - 1];
    if (program->references < 0 || program->references >= post->members || program->posts < 0 ||
        program->posts >= program->sources || program->reference < 0 || program->reference >= count - 1)
        return wrong("no post says what it refers to");
    int members = program->record[program->reference].members;
    if (program->type < 0 || program->type >= members || program->id < 0 || program->id >= members)
        return wrong("a reference has a type and an id");
    return 1;
}

#endif
