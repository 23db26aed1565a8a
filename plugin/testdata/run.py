"""Runs the program in this folder from nothing to nothing.

The Python language host is part of the official CLI alone; the Automation API
runs the same program, engine and plugin without it.
"""

import json
import runpy
import sys

from pulumi import automation as auto


def program() -> None:
    runpy.run_path("__main__.py")


stack = auto.create_or_select_stack(stack_name="dev", project_name="kms-baseline-python", program=program)
stack.set_all_config({name: auto.ConfigValue(value) for name, value in json.loads(sys.argv[1]).items()})
outputs = stack.up(on_output=sys.stderr.write).outputs
stack.preview(refresh=True, expect_no_changes=True, on_output=sys.stderr.write)
stack.destroy(on_output=sys.stderr.write)
print(json.dumps({name: output.value for name, output in outputs.items()}))
