/* A libFuzzer program that hands its inputs to a Python function: FUZZ_TARGET names one of fuzz.targets.

   The core is built as extension modules with coverage counters, which register with the fuzzer when they are loaded.
   An exception that leaves the function is a finding, as is whatever a sanitizer sees. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <stdlib.h>

static PyObject *target;

static void fail(void)
{
    PyErr_Print();
    fflush(NULL);
    abort();
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    Py_InitializeEx(0);
    PyObject *module = PyImport_ImportModule("fuzz.targets");
    PyObject *targets = module ? PyObject_GetAttrString(module, "TARGETS") : NULL;
    const char *name = getenv("FUZZ_TARGET");
    target = targets ? PyMapping_GetItemString(targets, name ? name : "") : NULL;
    if (!target)
        fail();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    PyObject *input = PyBytes_FromStringAndSize((const char *)data, (Py_ssize_t)size);
    PyObject *result = input ? PyObject_CallOneArg(target, input) : NULL;
    if (!result)
        fail();
    Py_DECREF(result);
    Py_DECREF(input);
    return 0;
}
