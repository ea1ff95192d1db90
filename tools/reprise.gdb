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
POINT is a number of instructions, as 500M or 1234567; begin; or end.
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
