# reprise.gdb - what `reprise debug` teaches gdb: settings for a machine that is
# replayed, and commands for moving in its time.  `help user-defined` lists them.

# Nothing is lost by leaving: the recording stays as it is.
set confirm off
# Going back may mean running for a while.
set remotetimeout 30
# Without source, the instruction is what there is to see.
set disassemble-next-line auto

# The machine moved without gdb: what gdb remembers of registers and memory is of another time.
define reprise-moved
  pipe maintenance flush register-cache | cat > /dev/null
  pipe maintenance flush dcache | cat > /dev/null
  frame
end
document reprise-moved
Forget what is known of registers and memory, and show where the machine is.
For scripts that move it with "monitor".
end

define back
  if $argc == 0
    reverse-stepi
  else
    reverse-stepi $arg0
  end
end
document back
Go back by instructions.
Usage: back [N]
N instructions, 1 if it is not given.  The same as reverse-stepi.
end

define whowrote
  if $argc == 1
    eval "monitor who-wrote 0x%lx %lu", (unsigned long)&($arg0), (unsigned long)sizeof($arg0)
  else
    if $argc == 2
      eval "monitor who-wrote 0x%lx %lu", (unsigned long)($arg0), (unsigned long)($arg1)
    else
      echo Usage: whowrote VARIABLE, or whowrote ADDRESS SIZE; without blanks in them\n
    end
  end
end
document whowrote
Find what wrote to memory last, before now.
Usage: whowrote VARIABLE
       whowrote ADDRESS SIZE
VARIABLE is anything that lies in memory: jiffies, *p, task->state, table[3],
or without symbols *(int*)0x1000.  An expression has no blanks in it.
end

define goto
  if $argc == 1
    monitor goto $arg0
    reprise-moved
  else
    echo Usage: goto POINT\n
  end
end
document goto
Go to a point of the run, forwards or backwards.
Usage: goto POINT
POINT is a number of instructions, as 500M or 1234567; start; or end.
"where-am-i" tells such a number.
end

define where-am-i
  monitor where
end
document where-am-i
Show the point of the run the machine is at: instructions and its own time.
Usage: where-am-i
end

define inputs
  monitor inputs
end
document inputs
List the recorded inputs, each with its point: what the machine heard from outside.
Usage: inputs
end

# Of a Linux guest: its loaded modules, from the list the kernel keeps at this point of its run.
define modules
  if $argc == 1
    set $reprise_modules = $arg0
  end
  if $_isvoid($reprise_modules)
    echo No directory of modules: give reprise debug one, --modules DIR; or modules "DIR"\n
  else
    reprise-forget-modules
    set $_entry = modules.next
    set $_left = 1000
    while $_entry != &modules && $_left > 0
      set $_module = (struct module *) ((char *) $_entry - (unsigned long) &((struct module *) 0)->list)
      if $_module->sect_attrs
        reprise-add-module
      end
      set $_entry = $_entry->next
      set $_left = $_left - 1
    end
  end
end
document modules
Load the symbols of a Linux guest's modules, as they are loaded at this point of the run.
Usage: modules ["DIR"]
DIR holds the modules' files, NAME.ko; without it, where reprise debug has found them.
Asked again at another point, it forgets those that are not there.  The kernel's own
symbols, with debug information, must be loaded before.
end

# Names are the guest's, and become part of commands: nothing but letters, digits, _ and . may;
# and the kernel allows 55 of them.
define reprise-check-name
  set $_plain = 1
  set $_k = 0
  while $_plain && $_name[$_k] != 0
    set $_c = $_name[$_k]
    if !(($_c >= 'a' && $_c <= 'z') || ($_c >= 'A' && $_c <= 'Z') || ($_c >= '0' && $_c <= '9') || $_c == '_' || $_c == '.')
      set $_plain = 0
    end
    set $_k = $_k + 1
    if $_k == 56
      set $_plain = 0
    end
  end
end
document reprise-check-name
For modules: whether $_name is a plain name, in $_plain.
end

define reprise-add-module
  set $_module_name = &$_module->name[0]
  set $_name = $_module_name
  set $_there = 0
  reprise-check-name
  if !$_plain
    printf "module at 0x%lx: its name is none, passed over\n", $_module
  else
    eval "set $_file = \"%s/%s.ko\"", $reprise_modules, $_module_name
    eval "shell test -r '%s'", $_file
    set $_there = $_shell_exitcode == 0
    if !$_there
      printf "%s: loaded, but no %s.ko was found\n", $_module_name, $_module_name
    end
  end
  if $_there
    eval "set $_command = \"add-symbol-file %s\"", $_file
    set $_i = 0
    set $_text = 0
    while $_i < $_module->sect_attrs->nsections && $_i < 200
      set $_section = &$_module->sect_attrs->attrs[$_i]
      set $_name = $_section->battr.attr.name
      reprise-check-name
      # .init.* are gone once the module runs; their memory is somebody else's.
      if $_plain && !($_name[1] == 'i' && $_name[2] == 'n' && $_name[3] == 'i' && $_name[4] == 't')
        eval "set $_command = \"%s -s %s 0x%lx\"", $_command, $_name, $_section->address
        if $_name[1] == 't' && $_name[2] == 'e' && $_name[3] == 'x' && $_name[4] == 't' && $_name[5] == 0
          set $_text = $_section->address
        end
      end
      set $_i = $_i + 1
    end
    # One without code of its own could not be forgotten again.
    if $_text != 0
      eval "pipe %s | cat > /dev/null", $_command
      eval "set $_module_%d = %lu", $_nmodules, $_text
      set $_nmodules = $_nmodules + 1
      printf "%s: symbols at 0x%lx\n", $_module_name, $_text
    end
  end
end
document reprise-add-module
For modules: the symbols of $_module.
end

define reprise-forget-modules
  if $_isvoid($_nmodules)
    set $_nmodules = 0
  end
  while $_nmodules > 0
    set $_nmodules = $_nmodules - 1
    eval "remove-symbol-file -a $_module_%d", $_nmodules
  end
end
document reprise-forget-modules
For modules: take back what it has loaded.
end
